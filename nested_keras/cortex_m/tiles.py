"""Count the parts of the convolution's kernels: nk_dsp_conv.c, nk_dsp_list.c and nk_dsp_tile.S.

docs/kernels.md describes the kernels; `cycles` gives each part its cycles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nested_keras.format import Encoding, LayerKind, LayerParams, StoredLevel

# The same numbers as in tflm_ops/src/cortex_m/nk_dsp_conv.c.
PIXELS = 8
"""The pixels of the widest tile."""
POSITION_WORDS = {1: 1, 2: 2, 3: 4, 4: 4}
"""Words of packed input at one position of the filter, by pairs of pixels."""
_FEW_FOR_EVEN = 96
_FEW_FOR_REPEAT = 30
_SPAN = 255


def loop(level: StoredLevel, params: LayerParams) -> str:
    """Names the inner loop that reads a level."""
    if level.encoding is Encoding.DENSE:
        return "dense"
    wide = "wide" if level.encoding is Encoding.DELTA16 else "block"
    return f"{wide}{params.block_size}"


def cut_row(
    params: LayerParams, height: int, width: int, levels: Sequence[StoredLevel]
) -> tuple[int, int, int]:
    """Returns the pixels and the number of the tiles of a row, and the pixels of a narrower last.

    The same rule as `cut_row` in nk_dsp_conv.c: in a single row a last tile can begin early, to be
    as wide as the others.
    """
    full, rest = divmod(width, PIXELS)
    if height != 1 or full == 0:
        return PIXELS, full, rest
    weights = sum(level.entries for level in levels) * params.block_size
    mean = weights // max(len(levels) * params.out_channels, 1)
    tiles = -(-width // PIXELS)
    even = -(-width // tiles)
    if even < PIXELS - 1 and mean < _FEW_FOR_EVEN:
        return even, tiles, 0
    if rest > 2 or (rest and mean < _FEW_FOR_REPEAT):
        return PIXELS, full + 1, 0
    return PIXELS, full, rest


def add_loops(
    counts: Counter[str],
    params: LayerParams,
    *,
    pairs: int,
    tiles: int,
    levels: Sequence[StoredLevel],
) -> None:
    """Counts the loops of tiles that are `pairs` pairs of pixels wide."""
    channels = params.out_channels
    counts[f"tiles.channel.{pairs}"] += tiles * channels
    counts[f"tiles.level.{pairs}"] += tiles * channels * max(0, len(levels) - 1)
    weights = 0
    for level in levels:
        dense = level.encoding is Encoding.DENSE
        per_entry = params.block_size if dense else 1
        counts[f"tiles.{loop(level, params)}.{pairs}"] += tiles * level.entries * per_entry
        weights += level.entries * params.block_size
    if weights > _SPAN * channels:
        # Channels of more than 255 weights run in pieces; the pieces count as equally full.
        pieces = sum(-(-s.entries * params.block_size // (_SPAN * channels)) for s in levels)
        counts[f"tiles.piece.{pairs}"] += tiles * channels * pieces


def add_packing(
    counts: Counter[str], params: LayerParams, *, pairs: int, columns: int, height: int
) -> None:
    """Counts the packing of the input under the tiles; rows that two windows share are kept."""
    kernel_h, stride_h = params.kernel_h, params.stride_h
    kept = max(kernel_h - stride_h, 0)
    rows = columns * (kernel_h + (height - 1) * (kernel_h - kept))
    kind = params.kind.name.lower()
    shifted = params.kernel_w - 2 if pairs == 4 and params.stride_w == 1 else 0
    shifted = max(shifted, 0)
    plain = params.kernel_w - shifted
    if kind == "conv" and shifted == 1:
        counts["packing.conv.threes"] += rows * params.in_channels
        shifted = plain = 0
    if plain:
        columns_under = (2 * pairs - 1) * params.stride_w + params.kernel_w
        counts[f"packing.{kind}.pixel"] += rows * columns_under
    counts[f"packing.{kind}.call"] += rows * max(plain + shifted, 1)
    if params.stride_w != 1:
        counts[f"packing.{kind}.strided"] += rows * params.kernel_w * pairs
    counts[f"packing.{kind}.{pairs}"] += rows * plain * params.in_channels
    counts[f"packing.{kind}.shifted"] += rows * shifted * params.in_channels
    if kept:
        depth = 2 if params.kind is LayerKind.DEPTHWISE else 1
        room = min(depth * kept, (height - 1) * stride_h)
        moves = columns * ((height - 1) // (room // stride_h + 1))
        words = kept * params.kernel_w * params.in_channels * POSITION_WORDS[pairs]
        counts[f"packing.{kind}.moved"] += moves * words
