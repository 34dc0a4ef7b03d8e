"""What the comparison of two revisions calls a difference."""

from benchmarks.compare_revisions import differences

OLD = {"demo": {"bytes": 10, "sha256": "aa", "instructions": [1, 2]}, "resnet8": {"bytes": 20}}


def test_equal_figures_are_no_difference():
    assert differences(OLD, {name: dict(row) for name, row in OLD.items()}) == []


def test_each_figure_that_moved_has_a_line():
    new = {**OLD, "demo": {"bytes": 10, "sha256": "bb", "instructions": [1, 3]}}
    assert differences(OLD, new) == [
        "demo: sha256 aa -> bb",
        "demo: instructions [1, 2] -> [1, 3]",
    ]
