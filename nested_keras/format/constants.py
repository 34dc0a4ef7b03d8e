"""Numbers and byte layouts of the packed weight stream, version 1.

Normative text: docs/nested_format.md. The C twin of this module is tflm_ops/include/nk_format.h;
a test keeps both equal.
"""

from __future__ import annotations

import numpy as np

STREAM_MAGIC = b"NSC1"
STREAM_VERSION = 1
STREAM_MAX_LEVELS = 16
STREAM_ALIGNMENT = 16
TABLE_ALIGNMENT = 4
STREAM_READ_AHEAD_BYTES = 4  # zero bytes after the last weight of a block, at least

BLOCK_SIZES = (1, 2, 4)
STREAM_MAX_COUNT_BITS = 16  # of the number of entries of one channel
STREAM_MAX_CHANNEL_WEIGHTS = 65535
STREAM_MAX_GAP = 254  # between two entries of a CODED block
STREAM_MAX_SYMBOL_BITS = 8  # of the code of a gap or value
STREAM_MAX_CODE_WORDS = (1 << 27) - 1  # so that 32 bits hold the place of a bit
STREAM_MAX_TABLE_BITS = 32  # of the packed tables of a channel
MIN_MULTIPLIER = 1 << 30  # of the absolute value; zero is allowed too
MAX_MULTIPLIER = (1 << 31) - 1
MIN_SHIFT = -31
MAX_SHIFT = 30

STREAM_HEADER = np.dtype(
    [
        ("magic", "S4"),
        ("version", "<u2"),
        ("kind", "u1"),
        ("levels", "u1"),
        ("block_size", "u1"),
        ("stride_h", "u1"),
        ("stride_w", "u1"),
        ("dilation_h", "u1"),
        ("dilation_w", "u1"),
        ("pad_top", "u1"),
        ("pad_left", "u1"),
        ("reserved_15", "u1"),
        ("kernel_h", "<u2"),
        ("kernel_w", "<u2"),
        ("out_channels", "<u2"),
        ("in_channels", "<u2"),
        ("depth_multiplier", "<u2"),
        ("reserved_26", "<u2"),
        ("input_offset", "<i4"),
        ("output_offset", "<i4"),
        ("activation_min", "<i4"),
        ("activation_max", "<i4"),
        ("reserved_44", "V16"),
        ("crc32", "<u4"),
    ]
)
LEVEL_HEADER = np.dtype(
    [
        ("block_bytes", "<u4"),
        ("entries", "<u4"),
        ("level", "u1"),
        ("encoding", "u1"),
        ("count_bits", "u1"),
        ("tables", "u1"),
        ("nnz", "<u4"),
        ("multiplier_bits", "u1"),
        ("shift_bits", "u1"),
        ("bias_bits", "u1"),
        ("bias_fraction", "u1"),
        ("shift_base", "i1"),
        ("last_gap", "u1"),
        ("first_magnitude", "u1"),
        ("last_magnitude", "u1"),
        ("code_words", "<u4"),
        ("crc32", "<u4"),
    ]
)
STREAM_HEADER_BYTES = STREAM_HEADER.itemsize
LEVEL_HEADER_BYTES = LEVEL_HEADER.itemsize
