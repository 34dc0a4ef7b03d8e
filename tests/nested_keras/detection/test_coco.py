import json

import numpy as np
import pytest

from nested_keras.detection import coco, read_coco, read_voc
from tests.nested_keras.detection import pictures


@pytest.fixture
def folder(tmp_path):
    return pictures.coco_folder(tmp_path / "coco")


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_reads_the_same_as_the_voc_reader(folder, tmp_path):
    train, test = coco.parts(folder)
    other = read_voc(pictures.voc_folder(tmp_path / "voc"), "trainval")
    data = read_coco(train)
    assert data.classes == other.classes == ("blue", "red")
    for one, two in zip(data.examples, other.examples, strict=True):
        np.testing.assert_array_equal(one.truth.boxes, two.truth.boxes)
        np.testing.assert_array_equal(one.truth.classes, two.truth.classes)
        assert one.image.read_bytes() == two.image.read_bytes()
    assert len(read_coco(test).examples) == 3


def test_crowds_are_ignored_and_classes_filtered(folder):
    path, _ = coco.parts(folder)
    edit(path, lambda value: value["annotations"][0].update(iscrowd=1))
    assert read_coco(path).examples[0].truth.ignored.tolist() == [True, False]
    data = read_coco(path, classes=["blue"], leave_others=True)
    assert data.classes == ("blue",)
    count = sum(len(each.truth.boxes) for each in data.examples)
    rows = json.loads(path.read_text())["annotations"]
    assert count == sum(row["category_id"] == 3 for row in rows)


def test_images_may_lie_in_a_folder_of_their_own(folder, tmp_path):
    path, _ = coco.parts(folder)
    moved = tmp_path / "elsewhere"
    (folder / "train").rename(moved)
    with pytest.raises(ValueError, match=r"instances_train\.json: expected the image"):
        read_coco(path)
    assert len(read_coco(path, images=moved).examples) == 6


def test_folders_with_their_own_annotations(folder):
    for part in ("train", "val"):
        path = folder / "annotations" / f"instances_{part}.json"
        path.rename(folder / part / "_annotations.coco.json")
    train, test = coco.parts(folder)
    assert (len(read_coco(train).examples), len(read_coco(test).examples)) == (6, 3)


def test_a_folder_without_annotations_has_no_parts(tmp_path):
    assert coco.parts(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda v: v.pop("categories"), "with a list 'categories': got none"),
        (lambda v: v.update(images=[]), "expected one image or more"),
        (lambda v: v["images"][0].pop("file_name"), "expected 'file_name' in each entry"),
        (lambda v: v["images"][0].update(width=3), "the size of 0.png must be 64x48: got 3x48"),
        (lambda v: v["images"][0].update(file_name="no.png"), "no.png: there is none"),
        (lambda v: v["images"][0].update(id=[1]), "expected a number as 'id': got [1]"),
        (lambda v: v["annotations"][0].update(image_id=99), "got image_id 99"),
        (lambda v: v["annotations"][0].update(category_id=9), "unknown class: got category_id 9"),
        (lambda v: v["annotations"][0].pop("bbox"), "expected 'bbox' in each entry"),
        (lambda v: v["annotations"][0].update(bbox=[1, 2, 3]), "a bbox of four numbers"),
        (lambda v: v["annotations"][0].update(bbox=[60, 2, 9, 9]), "must lie in the image of"),
        (lambda v: v["categories"][0].update(name="green"), "unknown class 'green'"),
    ],
)
def test_broken_files_are_one_line_with_the_name_of_the_file(folder, change, text):
    path, _ = coco.parts(folder)
    edit(path, change)
    with pytest.raises(ValueError, match=r"instances_train\.json") as error:
        read_coco(path, classes=("red", "blue"))
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_broken_json_is_refused(folder):
    path, _ = coco.parts(folder)
    path.write_text(path.read_text()[:-5])
    with pytest.raises(ValueError, match=r"instances_train\.json: broken JSON: "):
        read_coco(path)
    with pytest.raises(ValueError, match=r"no\.json: expected the JSON of COCO: no such file"):
        read_coco(folder / "no.json")
