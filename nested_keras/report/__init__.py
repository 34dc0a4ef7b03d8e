"""Tables, plots and one HTML page."""

from nested_keras.report.html import render_html
from nested_keras.report.results import DenseResult, LevelResult, Report
from nested_keras.report.table import format_table, level_table

__all__ = ["DenseResult", "LevelResult", "Report", "format_table", "level_table", "render_html"]
