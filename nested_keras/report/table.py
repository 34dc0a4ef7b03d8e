"""Plain-text tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from nested_keras.report.level_results import Report


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lays out rows under a header; the first column is left-aligned, the others right-aligned.

    Args:
        header: Column titles.
        rows: Cells as text; every row has as many as the header.

    Returns:
        The lines, joined, without a newline at the end.

    Raises:
        ValueError: If a row has another number of cells than the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"expected {len(header)} cells in every row: got {len(row)} in {row}")
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        aligned = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        return "  ".join([first.ljust(widths[0]), *aligned]).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


def level_cells(report: Report) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows of a report as text: one row a level, the dense model last."""
    header = [
        "level",
        "zeros, nested",
        "nonzeros, all",
        "weight bytes",
        "float acc.",
        "int8 acc. PC",
        "int8 acc. device",
        "instructions",
        "speed-up",
    ]
    rows = [
        [
            str(level.level),
            f"{level.sparsity:.3f}",
            f"{level.nnz:,}",
            f"{level.weight_bytes:,}",
            f"{level.accuracy_float:.1%}",
            f"{level.accuracy_int8:.1%}",
            f"{level.accuracy_device:.1%}",
            f"{level.instructions:,}",
            f"{level.speedup_over_dense:.2f}x",
        ]
        for level in report.levels
    ]
    dense = report.dense
    rows.append(
        [
            "dense",
            "0.000",
            f"{dense.nnz:,}",
            f"{dense.weight_bytes:,}",
            f"{dense.accuracy_float:.1%}",
            f"{dense.accuracy_int8:.1%}",
            f"{dense.accuracy_device:.1%}",
            f"{dense.instructions:,}",
            "1.00x",
        ]
    )
    return header, rows


def level_table(report: Report) -> str:
    """Returns the report as a plain-text table."""
    return format_table(*level_cells(report))
