"""The errors of a .tflite file."""

from __future__ import annotations


class ModelError(ValueError):
    """A .tflite file cannot be run: it is foreign, damaged, dynamic, not int8 or inconsistent."""


class UnsupportedOpError(ModelError):
    """The package does not implement an operator or a form of it; the text has its name."""
