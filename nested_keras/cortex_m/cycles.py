"""Predict the cycles of a NESTED_SPARSE_CONV layer, and choose encodings by Cortex-M7 cycles.

The model is linear: `features` says how often each part of a kernel runs (a tile, a channel of a
tile, a stored weight, ...), and cycles.json holds the cycles of each part on each core.
benchmarks/fit_cost_model.py fits the cycles of the parts to the modelled cycles of the kernel
benchmark (benchmarks/cycle_model.md). The result is an estimate of an estimate: use the result to
compare encodings, not to predict milliseconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from nested_keras.cortex_m import chains, dense_pairs, requantization, tiles
from nested_keras.cortex_m.requantization import is_clamped
from nested_keras.cortex_m.unpack_cycles import unpack_cycles
from nested_keras.format import (
    Chooser,
    Encoding,
    FormatError,
    LayerKind,
    LayerParams,
    NestedWeights,
    StoredLevel,
    Stream,
    in_place,
    smallest,
)
from nested_keras.format.constants import BLOCK_SIZES

# Encodings whose predicted cycles differ by less than this count as equal; the smaller stream wins.
# 8 % is twice the error of the model (benchmarks/README.md, "Cost model"). So blocks of two,
# which are 7 % slower than single weights, win by their bytes.
TIE = 0.08

CORES = ("m7", "m4", "m33")
"""The cores of which cycles can be predicted; exporter and codegen choose for the first."""

# The Cortex-M33 has the rules of the Cortex-M4 (benchmarks/cycle_model.md), and the same kernels.
_FITTED = {"m7": "m7", "m4": "m4", "m33": "m4"}

MAX_SIDE = 65535
"""The largest number of rows or columns of an image that the C kernels take (NK_MAX_EXTENT)."""

# The same number as in tflm_ops/src/cortex_m/nk_fully_connected_s8_dsp.c.
_CHUNK = 32
# The same numbers as in tflm_ops/src/cortex_m/nk_depthwise_tile.h: a tile of the image.
DEPTHWISE_COLUMNS = 20
DEPTHWISE_PAIRS = 14


@dataclass(frozen=True)
class ImageSize:
    """Sizes of a layer's input and output; 1x1 for a fully connected layer.

    Attributes:
        batches: Images, or rows of a fully connected layer.
        input_h: Input rows.
        input_w: Input columns.
        output_h: Output rows.
        output_w: Output columns.
    """

    batches: int
    input_h: int
    input_w: int
    output_h: int
    output_w: int

    @classmethod
    def of(
        cls, kind: LayerKind, input_shape: Sequence[int], output_shape: Sequence[int]
    ) -> ImageSize:
        """Returns the sizes of a layer between tensors [n, h, w, c], [n, w, c] or [..., features].

        A convolution of series [n, w, c] is a convolution of images of height one.
        """
        if kind is LayerKind.FULLY_CONNECTED:
            rows = 1
            for dim in output_shape[:-1]:
                rows *= dim
            return cls(rows, 1, 1, 1, 1)
        sides = ((1, *shape[1:-1])[-2:] for shape in (input_shape, output_shape))
        return cls(input_shape[0], *itertools.chain.from_iterable(sides))


def predict(
    params: LayerParams,
    size: ImageSize,
    levels: Sequence[StoredLevel],
    *,
    exact: int = 0,
    core: str = CORES[0],
) -> float:
    """Returns the predicted cycles of one call.

    Args:
        params: The layer.
        size: The sizes of its input and output.
        levels: The stored levels up to the level that runs; at least one.
        exact: Output channels that leave the short requantisation; `requantization` counts them.
        core: One of `CORES`.

    Returns:
        Modelled cycles of the tuned kernels, argument checks and requantisation included.
    """
    cycles = _cycles(_FITTED[core])
    counts = features(params, size, levels, exact=exact)
    return unpack_cycles(params, levels) + sum(cycles[name] * counts[name] for name in counts)


def predict_levels(stream: Stream, size: ImageSize, core: str = CORES[0]) -> tuple[int, ...]:
    """Returns the predicted cycles of a packed stream at each of its levels, sparsest first."""
    return tuple(
        round(predict(stream.params, size, stream.levels[: level + 1], exact=exact, core=core))
        for level, exact in enumerate(exact_channels(stream))
    )


def exact_channels(stream: Stream) -> tuple[int, ...]:
    """Returns how many channels leave the short requantisation at each level."""
    if stream.params.kind is LayerKind.FULLY_CONNECTED:
        return (0,) * len(stream.levels)
    depthwise = has_depthwise_kernel(stream.params)
    return requantization.exact_channels(stream.weights, has_depthwise_kernel=depthwise)


def fastest(params: LayerParams, size: ImageSize) -> Chooser:
    """Returns a chooser for `Stream.pack` that takes the fewest predicted cycles.

    The smaller of the two widths of deltas is taken. Between DENSE and deltas the predicted cycles
    decide; if they differ by less than `TIE`, the size decides.

    Args:
        params: The layer.
        size: Its input and output.
    """

    def choose(options: Sequence[StoredLevel]) -> StoredLevel:
        options = in_place(options)
        deltas = smallest([o for o in options if o.encoding is not Encoding.DENSE])
        both = [deltas, *(o for o in options if o.encoding is Encoding.DENSE)]
        cycles = {option: predict(params, size, [option]) for option in both}
        limit = min(cycles.values()) * (1 + TIE)
        return smallest([option for option in both if cycles[option] <= limit])

    return choose


def pack_fastest(nested: NestedWeights, size: ImageSize) -> Stream:
    """Packs a layer for the fewest predicted cycles, summed over all its levels.

    Args:
        nested: The layer. Its block size does not matter, because the function tries every size
            that divides the filter's input channels. With dilation the function also tries the
            larger filter without dilation that has gaps between its weights, because the tuned
            kernels run the larger filter, and a gap costs no multiplication.
        size: Its input and output.

    Returns:
        The smallest stream among those within `TIE` of the fastest.

    Raises:
        FormatError: If `Stream.pack` raises it.
    """
    layers = [nested]
    if (nested.params.dilation_h, nested.params.dilation_w) != (1, 1):
        with contextlib.suppress(FormatError):  # the larger filter may not fit the format
            layers.append(nested.without_dilation())
    streams = []
    for layer, block_size in itertools.product(layers, BLOCK_SIZES):
        if layer.params.filter_shape[-1] % block_size == 0:
            params = dataclasses.replace(layer.params, block_size=block_size)
            blocked = dataclasses.replace(layer, params=params)
            stream = Stream.pack(blocked, choose=fastest(params, size))
            streams.append((sum(predict_levels(stream, size)), stream))
    limit = min(cycles for cycles, _ in streams) * (1 + TIE)
    close = (stream for cycles, stream in streams if cycles <= limit)
    return min(close, key=lambda stream: len(stream.data))


def features(
    params: LayerParams, size: ImageSize, levels: Sequence[StoredLevel], *, exact: int = 0
) -> Counter[str]:
    """Counts how often each part of the layer's kernel runs in one call of nk_nested_conv_s8().

    Args:
        params: The layer.
        size: Its input and output.
        levels: The stored levels up to the level that runs.
        exact: Output channels that leave the short requantisation.

    Returns:
        Counts by the names in cycles.json.
    """
    stored = [level for level in levels if level.encoding is not Encoding.EMPTY]
    if params.kind is LayerKind.FULLY_CONNECTED:
        counts = _fully_connected(params, size.batches, stored)
    elif (params.dilation_h, params.dilation_w) != (1, 1):
        counts = _reference(params, size, stored)
    elif has_depthwise_kernel(params):
        counts = _depthwise(params, size, stored)
        outputs = size.batches * size.output_h * size.output_w
        counts[f"depthwise.general.{params.kernel_w}"] = outputs * exact
    else:
        if is_clamped(params):
            exact = params.out_channels
        counts = _convolution(params, size, stored, is_short=exact == 0)
        counts["tiles.exact"] = size.batches * size.output_h * size.output_w * exact
    return +counts  # without the zeros


@functools.cache
def _cycles(core: str) -> dict[str, float]:
    text = (
        resources.files("nested_keras.cortex_m").joinpath("cycles.json").read_text(encoding="ascii")
    )
    cycles: dict[str, float] = json.loads(text)[core]["cycles"]
    return cycles


# ----- Convolution: nk_dsp_conv.c, nk_dsp_list.c and nk_dsp_tile.S (docs/kernels.md)


def _convolution(
    params: LayerParams, size: ImageSize, levels: Sequence[StoredLevel], *, is_short: bool
) -> Counter[str]:
    """Counts tiles of up to 8 pixels with all output channels, in columns down the image."""
    height, width, batches = size.output_h, size.output_w, size.batches
    if dense_pairs.takes(params, [level.encoding for level in levels]):
        return dense_pairs.features(params, batches, (size.input_h, height), (size.input_w, width))
    if is_pointwise(params, size):
        height, width, batches = 1, batches * height * width, 1
    channels = params.out_channels
    pixels, full, rest = tiles.cut_row(params, height, width, levels)
    counts = Counter({"tiles.call": 1, "tiles.row": channels})
    full_tiles = batches * height * full
    is_wide = full > 0 and pixels == tiles.PIXELS
    is_chain = is_wide and is_short and chains.takes(params, levels, full_tiles)
    # The kernel makes a second list if the width of the tiles changes.
    lists = 2 * batches if full and rest else 1
    if is_chain:
        made = batches if rest else 1
        counts += chains.features(params, levels, full_tiles, made)
        lists -= made
    counts["tiles.list"] = lists * channels
    counts["tiles.entry"] = lists * channels * len(levels)
    for across, columns in ((pixels, full), (rest, 1)):
        if across and columns:
            pairs = (across + 1) // 2
            columns *= batches
            counts["tiles.tile"] += columns * height
            tiles.add_packing(counts, params, pairs=pairs, columns=columns, height=height)
            if not is_chain or across != tiles.PIXELS:
                tiles.add_loops(counts, params, pairs=pairs, tiles=columns * height, levels=levels)
    return counts


def is_pointwise(params: LayerParams, size: ImageSize) -> bool:
    """Says whether the windows are single pixels side by side, which make one long row."""
    window = (params.kernel_h, params.kernel_w, params.stride_h, params.stride_w)
    return (
        window == (1, 1, 1, 1)
        and (params.pad_top, params.pad_left) == (0, 0)
        and (size.input_h, size.input_w) == (size.output_h, size.output_w)
    )


# ----- Fully connected: nk_fully_connected_s8_dsp.c


def _fully_connected(params: LayerParams, rows: int, levels: Sequence[StoredLevel]) -> Counter[str]:
    """Counts chunks of 32 channels, which add their levels one by one and then requantise."""
    channels, length = params.out_channels, params.in_channels
    counts = Counter({"fc.row": rows, "fc.channel": rows * channels})
    counts["fc.chunk"] = rows * -(-channels // _CHUNK)
    for level in levels:
        loop = tiles.loop(level, params)
        counts["fc.chunk_level"] += counts["fc.chunk"]
        if loop == "dense":
            pairs = rows * -(-channels // 2)
            counts["fc.dense.pair"] += pairs
            counts["fc.dense.word"] += pairs * (length // 4)
            counts["fc.dense.tail"] += pairs * (length % 4)
        else:
            counts[f"fc.{loop}.channel"] += rows * channels
            counts[f"fc.{loop}"] += rows * level.entries
    return counts


# ----- Depthwise 3x3 and 5x5: nk_depthwise_s8_dsp.c


def has_depthwise_kernel(params: LayerParams) -> bool:
    """Returns whether a tuned depthwise kernel runs a layer: nk_depthwise_s8_dsp_supports()."""
    window = (params.kernel_h, params.kernel_w)
    return (
        params.kind is LayerKind.DEPTHWISE
        and (params.dilation_h, params.dilation_w) == (1, 1)
        and window in ((3, 3), (5, 5))
        and params.stride_h <= 2
        and params.stride_w <= 2
    )


def depthwise_pairs(params: LayerParams, outputs: int) -> int:
    """Returns the pairs of rows of a tile for so many rows of outputs: nk_depthwise_pairs()."""
    return -(-outputs // 2) * params.stride_h + params.kernel_h // 2


def _depthwise(params: LayerParams, size: ImageSize, levels: Sequence[StoredLevel]) -> Counter[str]:
    """Counts tiles of the image, four channels at a time."""
    kernel, stride_h, stride_w = params.kernel_w, params.stride_h, params.stride_w
    most_rows = (DEPTHWISE_PAIRS - kernel // 2) // stride_h * 2
    rows = -(-_part_of(size.output_h, most_rows) // 2) * 2
    most_columns = (DEPTHWISE_COLUMNS - kernel) // stride_w + 1
    columns = _part_of(size.output_w, most_columns)
    channels = params.out_channels
    requantisation = "short" if kernel == 3 and params.output_offset == -128 else "long"
    counts = Counter({"depthwise.call": 1})
    pieces = itertools.product(_cut(size.output_h, rows), _cut(size.output_w, columns))
    for (high, count_down), (wide, count_across) in pieces:
        tiles = size.batches * count_down * count_across
        counts["depthwise.tile"] += tiles
        counts["depthwise.padding"] += tiles * depthwise_pairs(params, high)
        counts[f"depthwise.channel.{kernel}"] += tiles * channels
        below = min((high - 1) * stride_h + kernel, size.input_h)
        beside = min((wide - 1) * stride_w + kernel, size.input_w)
        lines = tiles * -(-params.in_channels // 4) * -(-below // 2)
        counts["depthwise.lines"] += lines
        counts["depthwise.unpack"] += lines * beside
        runs = tiles * channels * -(-high // 2)
        counts["depthwise.run"] += runs
        counts[f"depthwise.pair.{kernel}.{requantisation}"] += runs * wide
    if [level.encoding for level in levels] != [Encoding.DENSE]:
        counts["depthwise.copied"] = counts["depthwise.tile"] * channels * kernel * kernel
    for level in levels:
        if level.encoding is not Encoding.DENSE:
            counts["depthwise.level"] += counts["depthwise.tile"] * channels
            counts["depthwise.entry"] += counts["depthwise.tile"] * level.entries
    if is_clamped(params):
        counts["depthwise.clamped"] = size.batches * size.output_h * size.output_w * channels
    return counts


def _part_of(total: int, limit: int) -> int:
    """Cuts `total` into the fewest parts of at most `limit` and returns the size of each."""
    parts = -(-total // limit)
    return -(-total // parts)


def _cut(total: int, part: int) -> list[tuple[int, int]]:
    """Returns the lengths of the parts of `total`, each with the number of such parts."""
    full, rest = divmod(total, part)
    return [(length, count) for length, count in ((part, full), (rest, 1)) if length and count]


# ----- Dilated convolution: nk_nested_conv_s8_ref.c


def _reference(params: LayerParams, size: ImageSize, levels: Sequence[StoredLevel]) -> Counter[str]:
    """Counts the reference, where each stored weight goes over the plane of its output channel."""
    planes = size.batches * params.out_channels
    plane = size.output_h * size.output_w
    counts = Counter({"reference.plane": planes, "reference.output": planes * plane})
    for level in levels:
        kind = "dense" if level.encoding is Encoding.DENSE else "delta"
        weights = size.batches * level.entries * params.block_size
        counts[f"reference.{kind}.weight"] += weights
        counts[f"reference.{kind}.product"] += weights * plane
    return counts
