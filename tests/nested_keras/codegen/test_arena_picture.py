import xml.etree.ElementTree as ET

from nested_keras.codegen import arena_picture, ctext
from nested_keras.codegen.model_plan import ModelPlan
from tests.nested_keras.codegen.programs import image_chain


def test_every_block_of_the_arena_is_in_the_picture():
    prog = image_chain()
    storage = ModelPlan(prog, "net", ctext.Constants(), "smallest").storage
    root = ET.fromstring(arena_picture.draw(storage, len(prog.ops), "a < b"))
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(texts) == len(storage.blocks)
    assert {block.kind for block in storage.blocks} >= {"rows", "scratch", "input", "output"}
    for block in storage.blocks:
        assert any(f"{block.size:,} bytes at {block.offset:,}" in text for text in texts)
    assert "a < b" in {each.text for each in root.iter("{http://www.w3.org/2000/svg}text")}


def test_blocks_stay_within_the_picture():
    prog = image_chain()
    storage = ModelPlan(prog, "net", ctext.Constants()).storage
    root = ET.fromstring(arena_picture.draw(storage, len(prog.ops), ""))
    ground, *blocks = list(root.iter("{http://www.w3.org/2000/svg}rect"))[:-4]
    right = float(ground.get("x")) + float(ground.get("width"))
    bottom = float(ground.get("y")) + float(ground.get("height"))
    for each in blocks:
        assert float(each.get("x")) + float(each.get("width")) <= right + 0.1
        assert float(each.get("y")) + float(each.get("height")) <= bottom + 0.1
