"""Draw the plan of an arena as SVG: operators from left to right, bytes from top to bottom."""

from __future__ import annotations

from html import escape

from nested_keras.codegen.storage import Block, Storage

_COLOURS = {
    "tensor": "#2a9d8f",
    "rows": "#0b3c49",
    "scratch": "#f4a261",
    "input": "#8d99ae",
    "output": "#8d99ae",
}
_WORDS = {
    "tensor": "whole tensors",
    "rows": "rows of a tensor",
    "scratch": "scratch",
    "input": "input and output",
}
_LEFT, _TOP, _HEIGHT = 70, 34, 320
_LEAST_WIDTH, _LEAST_COLUMN = 560, 14


def draw(storage: Storage, operators: int, title: str) -> str:
    """Draws the arena.

    A pointer over a block shows its name, its bytes and its operators.

    Args:
        storage: The plan.
        operators: The number of operators.
        title: The text above.

    Returns:
        The SVG.
    """
    columns = operators + 1  # the outputs stay until the end
    column = max(_LEAST_COLUMN, _LEAST_WIDTH / columns)
    width, total = column * columns, max(storage.arena_bytes, 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + width + 10:g}" '
        f'height="{_TOP + _HEIGHT + 52}" font-family="sans-serif" font-size="11">',
        f'<text x="{_LEFT}" y="20" font-size="13">{escape(title)}</text>',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{width:g}" height="{_HEIGHT}" fill="#eef0f2"/>',
    ]
    for share in range(5):
        y = _TOP + _HEIGHT * share / 4
        label = f"{total * share // 4:,}"
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:g}" text-anchor="end">{label}</text>')
    # The small blocks last, so that no block is hidden.
    for block in sorted(storage.blocks, key=lambda block: -block.size):
        parts.append(_block(block, column, _HEIGHT / total))
    parts.append(
        f'<text x="{_LEFT + width / 2:g}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">'
        f"operators 0 to {operators - 1}</text>"
    )
    x = _LEFT
    for kind, words in _WORDS.items():
        y = _TOP + _HEIGHT + 30
        parts.append(f'<rect x="{x}" y="{y}" width="11" height="11" fill="{_COLOURS[kind]}"/>')
        parts.append(f'<text x="{x + 16}" y="{y + 10}">{words}</text>')
        x += 130
    return "\n".join([*parts, "</svg>", ""])


def _block(block: Block, column: float, scale: float) -> str:
    x, width = _LEFT + block.first * column, (block.last - block.first + 1) * column
    y, height = _TOP + block.offset * scale, block.size * scale
    about = f"{block.name}: {block.kind}, {block.size:,} bytes at {block.offset:,}"
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{_COLOURS[block.kind]}" fill-opacity="0.85" stroke="white" stroke-width="0.5">'
        f"<title>{escape(about)}, operators {block.first} to {block.last}</title></rect>"
    )
