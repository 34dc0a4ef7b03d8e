"""The `nested-keras` command: one file per command, thin over the library."""

from nested_keras.cli.application import main

__all__ = ["main"]
