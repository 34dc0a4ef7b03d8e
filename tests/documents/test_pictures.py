"""The committed pictures show the committed results."""

import xml.etree.ElementTree as ET

import pytest

from docs import pictures

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_committed_picture_is_of_the_present_results(name):
    assert pictures.source_digest(name) in (pictures.IMAGES / f"{name}.svg").read_text()


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_picture_can_be_drawn_and_is_the_same_each_time(name):
    drawn = pictures.svg(name)
    assert ET.fromstring(drawn).tag.endswith("svg")
    assert pictures.svg(name) == drawn
