"""Keep start-up and conversion notes of TensorFlow's C++ code off the standard error."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# Harmless notes of the C++ code. TF_CPP_MIN_LOG_LEVEL does not reach notes from before TensorFlow
# sets up its logging, and never reaches the last two.
_NOTES = re.compile(
    rb"[IW]\d{4} |"
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IW] |"
    rb"E\d{4} .*(cuda|CUDA|cuInit)|"
    rb"WARNING: All log messages before absl::InitializeLog\(\)|"
    rb"(To enable the following instructions|Skipping registering GPU devices)|"
    rb"fully_quantize: "
)


@contextlib.contextmanager
def without_notes() -> Iterator[None]:
    """Leaves out the notes that C++ code writes to the standard error within a block.

    Every other line comes out at the end of the block. If the block raises, all lines come out,
    notes included. The block affects the whole process, other threads included.
    """
    try:
        saved = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    with tempfile.TemporaryFile() as sink:
        _flush()
        os.dup2(sink.fileno(), 2)
        whole = True
        try:
            yield
            whole = False
        finally:
            _flush()
            os.dup2(saved, 2)
            os.close(saved)
            sink.seek(0)
            for line in sink:
                if whole or not _NOTES.match(line):
                    os.write(2, line)


def load_tensorflow() -> None:
    """Imports Keras and TensorFlow and looks for devices, without their notes.

    Raises:
        ModuleNotFoundError: If Keras or TensorFlow is missing.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with without_notes():
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_logical_devices()


def _flush() -> None:
    with contextlib.suppress(AttributeError, ValueError, OSError):
        sys.stderr.flush()
