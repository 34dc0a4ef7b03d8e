"""One self-contained HTML page: table, plot and the facts behind them."""

from __future__ import annotations

import html

from nested_keras.report.level_results import Report
from nested_keras.report.plot import accuracy_over_instructions
from nested_keras.report.table import level_cells

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{
  font: 16px/1.5 system-ui, sans-serif;
  max-width: 60rem;
  margin: 2rem auto;
  padding: 0 1rem;
}}
table {{ border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
svg {{ max-width: 100%; height: auto; }}
.scroll {{ overflow-x: auto; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>Every level is a prefix of the same stored weights. Level 0 is the sparsest and fastest.
Instructions are counted exactly on an emulated Cortex-M7; instructions are not cycles. Zeros are
counted in the nested kernels. Nonzeros and bytes are counted in all layers, dense layers
included.</p>
<div class="scroll">{levels}</div>
{plot}
<h2>How it was measured</h2>
<div class="scroll">{facts}</div>
</body>
</html>
"""


def _table(header: list[str], rows: list[list[str]]) -> str:
    def row(cells: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    head = f"<thead>{row(header, 'th')}</thead>" if header else ""
    body = "\n".join(row(cells, "td") for cells in rows)
    return f"<table>{head}<tbody>\n{body}\n</tbody></table>"


def render_html(report: Report) -> str:
    """Returns the report as one HTML page with no outside resources.

    Args:
        report: The results.

    Returns:
        The page's text.

    Raises:
        ImportError: If matplotlib, which draws the plot, is not installed.
    """
    facts = [
        [name, f"{value:,}" if isinstance(value, int) else str(value)]
        for name, value in report.facts.items()
    ]
    return _PAGE.format(
        title=html.escape(report.title),
        levels=_table(*level_cells(report)),
        plot=accuracy_over_instructions(report),
        facts=_table([], facts),
    )
