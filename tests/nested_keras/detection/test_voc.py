import re

import numpy as np
import pytest

from nested_keras.detection import read_voc, voc
from tests.nested_keras.detection import pictures


@pytest.fixture
def folder(tmp_path):
    return pictures.voc_folder(tmp_path / "data")


def edit(folder, name, before, after):
    path = folder / "Annotations" / f"{name}.xml"
    text = path.read_text()
    assert re.search(before, text)
    path.write_text(re.sub(before, after, text, count=1))


def test_reads_what_was_written(folder):
    data = read_voc(folder, "test")
    assert data.classes == ("blue", "red")
    assert [each.image.stem for each in data.examples] == ["img006", "img007", "img008"]
    assert (data.notes, data.examples[0].size) == ((), (48, 64))
    rng = np.random.default_rng(0)
    written = [pictures.picture(rng)[1] for _ in range(9)][6:]
    for example, objects in zip(data.examples, written, strict=True):
        boxes = [(y0 / 48, x0 / 64, y1 / 48, x1 / 64) for _, (x0, y0, x1, y1) in objects]
        np.testing.assert_allclose(example.truth.boxes, boxes, rtol=1e-6)
        assert [data.classes[i] for i in example.truth.classes] == [name for name, _ in objects]
        assert not example.truth.ignored.any()


def test_classes_in_the_order_that_is_asked_for(folder):
    one, other = (read_voc(folder, "test", classes=names) for names in (("red", "blue"), None))
    for first, second in zip(one.examples, other.examples, strict=True):
        np.testing.assert_array_equal(first.truth.classes, 1 - second.truth.classes)


def test_class_filter(folder):
    data = read_voc(folder, "trainval", classes=["red"], leave_others=True)
    everything = read_voc(folder, "trainval")
    assert len(data.examples) == 6
    for some, all_of_them in zip(data.examples, everything.examples, strict=True):
        own = all_of_them.truth.classes == 1
        np.testing.assert_array_equal(some.truth.boxes, all_of_them.truth.boxes[own])
        assert not some.truth.classes.any()


def test_difficult_objects_are_ignored(folder):
    edit(folder, "img006", "<difficult>0", "<difficult>1")
    truth = read_voc(folder, "test").examples[0].truth
    assert truth.ignored.tolist() == [True, False]


def test_empty_boxes_are_left_out_with_a_note(folder):
    edit(folder, "img006", r"<xmax>\d+", "<xmax>0")
    data = read_voc(folder, "test")
    assert len(data.examples[0].truth.boxes) == 1
    (note,) = data.notes
    assert "img006.xml: an empty box of a" in note


def test_a_box_a_pixel_outside_is_cut(folder):
    edit(folder, "img006", r"<xmax>\d+", "<xmax>65")
    assert read_voc(folder, "test").examples[0].truth.boxes[0, 3] == 1.0


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("</annotation>", "", "broken XML: "),
        (r"<xmax>\d+", "<xmax>70", "must lie in the image of 64x48 pixels: got"),
        (r"<ymin>\d+", "<ymin>-3", "must lie in the image of 64x48 pixels: got"),
        (r"<ymin>\d+", "<ymin>nan", "must lie in the image"),
        (r"<xmin>\d+", "<xmin>left", "<bndbox> must have a number <xmin>: got 'left'"),
        (r"<xmin>\d+</xmin>", "", "<bndbox> must have a number <xmin>: got none"),
        (r"<name>\w+", "<name> ", "an object must have a <name>: got none"),
        (r"<bndbox>.*?</bndbox>", "", "must have a <bndbox>: got none"),
        ("<width>64", "<width>32", "<size> must be that of img006.png, 64x48: got 32x48"),
        (r"<name>\w+", "<name>green", "unknown class 'green': expected one of red, blue"),
    ],
)
def test_broken_annotations_are_one_line_with_the_name_of_the_file(folder, before, after, text):
    edit(folder, "img006", before, after)
    with pytest.raises(ValueError, match=r"img006\.xml") as error:
        read_voc(folder, "test", classes=("red", "blue"))
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_broken_files_are_named(folder):
    with pytest.raises(ValueError, match=r"none\.txt: expected .* 'none': no such file"):
        read_voc(folder, "none")
    image = folder / "JPEGImages" / "img006.png"
    image.write_bytes(image.read_bytes()[:10])
    with pytest.raises(ValueError, match=r"img006\.png: cannot be read as an image"):
        read_voc(folder, "test")
    image.unlink()
    with pytest.raises(ValueError, match=r"img006\.xml: expected the image .*img006.jpg"):
        read_voc(folder, "test")
    (folder / "Annotations" / "img006.xml").unlink()
    with pytest.raises(ValueError, match=r"img006\.xml: expected the boxes of image 'img006'"):
        read_voc(folder, "test")
    (folder / "ImageSets/Main/test.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"test\.txt: .*the file is empty"):
        read_voc(folder, "test")


def test_parts(folder):
    lists = folder / "ImageSets/Main"
    assert voc.is_voc(folder)
    assert voc.parts(folder) == ("trainval", "test")
    (lists / "test.txt").unlink()
    with pytest.raises(ValueError, match=r"Main: expected trainval\.txt and test\.txt"):
        voc.parts(folder)
    (lists / "train.txt").write_text("img000")
    (lists / "val.txt").write_text("img001")
    assert voc.parts(folder) == ("train", "val")


def test_classes_must_differ(folder):
    with pytest.raises(ValueError, match="classes must differ: got red, red"):
        read_voc(folder, "test", classes=("red", "red"))
