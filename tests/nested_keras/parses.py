"""Counts how often packed streams and .tflite files are parsed."""

import contextlib
from collections import Counter

import pytest

from nested_keras.format import Stream
from nested_keras.tflite import flatbuffer


@contextlib.contextmanager
def counted():
    """Yields the numbers of parses of the block, by "streams" and "files"."""
    counts = Counter()
    parse, unpack = Stream.parse, flatbuffer.unpack

    def count(what, call):
        def counting(data):
            counts[what] += 1
            return call(data)

        return counting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stream, "parse", count("streams", parse))
        patch.setattr(flatbuffer, "unpack", count("files", unpack))
        yield counts
