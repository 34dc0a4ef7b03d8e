"""The report's table, plot and page."""

import dataclasses
import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nested_keras import report as report_lib


def make_report() -> report_lib.Report:
    levels = [
        report_lib.LevelResult(
            level=level,
            sparsity=sparsity,
            nnz=nnz,
            weight_bytes=4 * nnz,
            accuracy_float=0.9 + level / 100,
            accuracy_int8=0.89 + level / 100,
            accuracy_device=0.88 + level / 100,
            instructions=1_000_000 * (level + 1),
            speedup_over_dense=8.0 / (level + 1),
        )
        for level, (sparsity, nnz) in enumerate([(0.9, 1234), (0.5, 6789)])
    ]
    dense = report_lib.DenseResult(
        nnz=20_000,
        weight_bytes=21_000,
        accuracy_float=0.99,
        accuracy_int8=0.98,
        accuracy_device=0.97,
        instructions=8_000_000,
    )
    return report_lib.Report("Digits & <friends>", levels, dense, {"images": 1500, "board": "x<y"})


class Page(HTMLParser):
    """Collects the text of table cells and the tags seen."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: list[str] = []
        self.in_cell = False

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not {"src", "href"} & {name for name, _ in attrs} or tag == "use", (tag, attrs)
        if tag in ("td", "th"):
            self.in_cell = True
            self.cells.append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.in_cell = False

    def handle_data(self, data):
        if self.in_cell:
            self.cells[-1] += data


def test_to_dict_holds_every_level_and_survives_json():
    content = json.loads(json.dumps(make_report().to_dict()))
    assert [row["level"] for row in content["levels"]] == [0, 1]
    assert content["levels"][1] == {
        "level": 1,
        "sparsity": 0.5,
        "nnz": 6789,
        "weight_bytes": 27156,
        "accuracy_float": 0.91,
        "accuracy_int8": 0.9,
        "accuracy_device": 0.89,
        "instructions": 2_000_000,
        "speedup_over_dense": 4.0,
    }
    assert content["dense"]["instructions"] == 8_000_000


def test_table_columns_line_up():
    lines = report_lib.level_table(make_report()).splitlines()
    assert len(lines) == 6
    assert max(map(len, lines)) <= 80
    assert " ".join(lines[3].split()) == "0 0.900 1,234 4,936 90.0% 89.0% 88.0% 1,000,000 8.00x"
    assert lines[5].startswith("dense")
    assert len({len(line) for line in lines[1:]}) == 1


def test_the_readme_shows_these_columns():
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    header = " ".join(report_lib.level_table(make_report()).split("---")[0].split())
    assert header in " ".join(readme.split())


def test_table_refuses_a_short_row():
    with pytest.raises(ValueError, match=r"expected 2 cells in every row: got 1 in \['x'\]"):
        report_lib.format_table(["a", "b"], [["x"]])


def test_page_shows_every_figure_and_loads_nothing():
    text = report_lib.render_html(make_report())
    page = Page()
    page.feed(text)
    for expected in ("1,234", "27,156", "8.00x", "97.0%", "1,500", "x<y"):
        assert expected in page.cells
    assert "svg" in page.tags
    assert "<friends>" not in text
    svg = text[text.index("<svg") : text.index("</svg>") + len("</svg>")]
    labels = [t for e in ET.fromstring(svg).iter() for t in [e.text or ""] if t.startswith("level")]
    assert labels == ["level 0 (90% zeros)", "level 1 (50% zeros)"]


def test_page_is_the_same_every_time():
    assert report_lib.render_html(make_report()) == report_lib.render_html(make_report())


def test_the_report_of_a_detector_names_its_measure():
    report = dataclasses.replace(make_report(), quality="mAP@0.5")
    header = report_lib.level_table(report).split("---")[0]
    assert header.count("mAP@0.5") == 3
    assert "acc." not in header
    assert "int8 mAP@0.5 on the device (%)" in report_lib.render_html(report)
    assert report.to_dict()["quality"] == "mAP@0.5"
