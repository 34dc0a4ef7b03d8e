"""Small data sets with drawn rectangles, in the layouts of Pascal VOC and COCO."""

import json

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220)}


def picture(rng, *, size=(48, 64), objects=2):
    """Returns an image on grey ground and its objects: (name, (x0, y0, x1, y1))."""
    image = np.full((*size, 3), 128, np.uint8)
    image += rng.integers(0, 12, image.shape, dtype=np.uint8)
    found = []
    for _ in range(objects):
        high, wide = rng.integers(12, 24, 2)
        y, x = rng.integers(0, size[0] - high + 1), rng.integers(0, size[1] - wide + 1)
        name = str(rng.choice(list(COLOURS)))
        image[y : y + high, x : x + wide] = COLOURS[name]
        found.append((name, (int(x), int(y), int(x + wide), int(y + high))))
    return image, found


def xml(name, size, objects):
    rows = "".join(
        f"<object><name>{label}</name><difficult>{int(index == 9)}</difficult><bndbox>"
        f"<xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for index, (label, (x0, y0, x1, y1)) in enumerate(objects)
    )
    return (
        f"<annotation><filename>{name}.png</filename><size><width>{size[1]}</width>"
        f"<height>{size[0]}</height><depth>3</depth></size>{rows}</annotation>"
    )


def voc_folder(folder, *, train=6, test=3, seed=0, **kwargs):
    """Writes a data set in the layout of Pascal VOC; returns the folder."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(seed)
    names = [f"img{number:03}" for number in range(train + test)]
    for name in names:
        image, objects = picture(rng, **kwargs)
        Image.fromarray(image).save(folder / "JPEGImages" / f"{name}.png")
        (folder / "Annotations" / f"{name}.xml").write_text(xml(name, image.shape, objects))
    (folder / "ImageSets/Main/trainval.txt").write_text("\n".join(names[:train]) + "\n")
    (folder / "ImageSets/Main/test.txt").write_text("\n".join(names[train:]) + "\n")
    return folder


def coco_folder(folder, *, train=6, test=3, seed=0, **kwargs):
    """Writes the same data set as `voc_folder` in the layout of COCO; returns the folder."""
    (folder / "annotations").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    categories = [{"id": 7, "name": "red"}, {"id": 3, "name": "blue"}]
    ids = {each["name"]: each["id"] for each in categories}
    for part, count in (("train", train), ("val", test)):
        (folder / part).mkdir()
        images, annotations = [], []
        for number in range(count):
            image, objects = picture(rng, **kwargs)
            name = f"{number}.png"
            Image.fromarray(image).save(folder / part / name)
            size = {"height": image.shape[0], "width": image.shape[1]}
            images.append({"id": number, "file_name": name, **size})
            for label, (x0, y0, x1, y1) in objects:
                box = [x0, y0, x1 - x0, y1 - y0]
                row = {"id": len(annotations), "image_id": number, "category_id": ids[label]}
                annotations.append({**row, "bbox": box, "iscrowd": 0})
        value = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(value))
    return folder
