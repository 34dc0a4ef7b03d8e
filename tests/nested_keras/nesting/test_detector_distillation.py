import keras
import numpy as np
import pytest

from nested_keras import nest
from nested_keras.detection import BoxLoss, ScoreLoss
from nested_keras.distillation import DetectorDistillation, Distillation
from nested_keras.nesting.model import load_model

ANCHORS = 6


def detector(classes=2, seed=0, **outputs):
    keras.utils.set_random_seed(seed)
    image = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(image)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.Flatten()(x)
    found = {}
    for name, values in {"boxes": 4, "scores": classes + 1, **outputs}.items():
        y = keras.layers.Dense(ANCHORS * values, name=f"{name}_dense")(x)
        found[name] = keras.layers.Reshape((ANCHORS, values), name=name)(y)
    return keras.Model(image, found)


def images(count=8):
    return np.random.default_rng(0).normal(size=(count, 6, 6, 3)).astype("float32")


def targets(count=8):
    boxes = np.zeros((count, ANCHORS, 5), "float32")
    boxes[:, 0, 4] = 1
    scores = np.zeros((count, ANCHORS), "float32")
    scores[:, 0] = 1
    return {"boxes": boxes, "scores": scores}


LOSSES = {"boxes": BoxLoss(), "scores": ScoreLoss()}


def test_loss_by_hand():
    loss = DetectorDistillation(teacher=detector(), temperature=1.0).loss()
    logits = np.zeros((1, 2, 2), "float32")
    logits[0, 0] = (0.0, np.log(9.0))  # an object, by 0.9
    logits[0, 1] = (20.0, 0.0)  # background
    boxes = np.zeros((1, 2, 4), "float32")
    taught = loss.softened([{"boxes": boxes, "scores": logits}])
    assert float(loss(taught, {"boxes": boxes, "scores": logits})) == pytest.approx(0, abs=1e-5)
    moved = boxes.copy()
    moved[0, :, 0] = 3.0  # 2.5 each, by the probability of an object
    got = float(loss(taught, {"boxes": moved, "scores": logits}))
    assert got == pytest.approx(0.9 * 2.5, rel=1e-4)
    other = np.zeros_like(logits)
    other[0, 1] = logits[0, 1]
    got = float(loss(taught, {"boxes": boxes, "scores": other}))
    assert got == pytest.approx(0.9 * np.log(1.8) + 0.1 * np.log(0.2), rel=1e-4)


def test_sources_are_averaged():
    loss = DetectorDistillation(in_place=True, temperature=1.0).loss()
    outputs = [detector(seed=seed)(images()) for seed in (0, 1)]
    taught = loss.softened(outputs)
    mean = sum(each["boxes"].numpy() for each in outputs) / 2
    np.testing.assert_allclose(taught["boxes"][..., :4], mean, rtol=1e-5, atol=1e-6)
    probabilities = sum(keras.ops.softmax(each["scores"]).numpy() for each in outputs) / 2
    np.testing.assert_allclose(taught["scores"], probabilities, rtol=1e-4)
    np.testing.assert_allclose(taught["boxes"][..., 4], 1 - probabilities[..., 0], rtol=1e-3)


def test_both_heads_learn_from_the_teacher_alone():
    """With the whole weight on the teacher a level follows it, whatever the labels say."""
    teacher, base = detector(seed=1), detector(seed=2)
    model = nest(base, (0.5, 0.2))
    goal = DetectorDistillation(teacher=teacher, weight=1.0, temperature=1.0)
    model.compile(keras.optimizers.Adam(0.02), loss=LOSSES, distillation=goal)
    x = images()

    def seen(outputs):
        return {**outputs, "scores": keras.ops.softmax(outputs["scores"])}

    def distance(name):
        return float(np.abs(seen(model.at_level(0)(x))[name] - seen(teacher(x))[name]).mean())

    before = {name: distance(name) for name in ("boxes", "scores")}
    with pytest.warns(UserWarning, match="levels are not at their sparsities"):
        model.fit(x, targets(), epochs=60, batch_size=8, verbose=0)
    for name, value in before.items():
        assert distance(name) < 0.4 * value


@pytest.mark.parametrize("arguments", [{"split_batch": True}, {"in_place": True, "sandwich": True}])
def test_goes_with_the_other_arguments(arguments, tmp_path):
    model = nest(detector(), (0.8, 0.5, 0.2))
    in_place = arguments.pop("in_place", False)
    goal = DetectorDistillation(teacher=None if in_place else detector(seed=1), in_place=in_place)
    model.compile("adam", loss=LOSSES, distillation=goal, **arguments)
    assert np.isfinite(model.train_on_batch(images(), targets())).all()
    logs = model.evaluate(images(), targets(), return_dict=True, verbose=0)
    for level in range(3):
        for name in ("boxes_loss", "scores_loss", "loss"):
            assert np.isfinite(logs[f"level_{level}_{name}"])
    if in_place:
        model.save(tmp_path / "model.keras")
        again = load_model(tmp_path / "model.keras")
        assert isinstance(again.get_compile_config()["distillation"], dict)
        assert np.isfinite(again.train_on_batch(images(), targets())).all()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: {"teacher": detector(classes=3)}, r"the same anchors and classes: got outputs"),
        (lambda: {"teacher": detector(more=2)}, r"the teacher has \['boxes', 'more', 'scores'\]"),
        (
            lambda: {"teacher": keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Flatten()])},
            r"the teacher has \w+Type",
        ),
        (lambda: {"in_place": True, "from_logits": False}, "are logits: got from_logits=False"),
        (lambda: {}, "must have a teacher, in_place=True or both"),
    ],
)
def test_what_does_not_fit_is_refused(make, text):
    model = nest(detector(), (0.5, 0.2))
    with pytest.raises(ValueError, match=text):
        model.compile("adam", loss=LOSSES, distillation=DetectorDistillation(**make()))


def test_distillation_of_classifiers_names_that_of_detectors():
    model = nest(detector(), (0.5, 0.2))
    with pytest.raises(ValueError, match="a detector takes DetectorDistillation"):
        model.compile("adam", loss=LOSSES, distillation=Distillation(in_place=True))
