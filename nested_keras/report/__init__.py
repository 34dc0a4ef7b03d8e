"""Tables, plots and one HTML page."""

from nested_keras.report.html import render_html
from nested_keras.report.level_results import DenseResult, LevelResult, Report
from nested_keras.report.measure import (
    TARGETS,
    LevelRun,
    LevelSize,
    TargetRun,
    accuracy,
    level_sizes,
    run_levels,
)
from nested_keras.report.table import format_table, level_table

__all__ = [
    "TARGETS",
    "DenseResult",
    "LevelResult",
    "LevelRun",
    "LevelSize",
    "Report",
    "TargetRun",
    "accuracy",
    "format_table",
    "level_sizes",
    "level_table",
    "render_html",
    "run_levels",
]
