import keras
import numpy as np
import pytest

from nested_keras.detection import BoxLoss, DetectorLoss, ScoreLoss


def test_box_loss_is_the_huber_loss_per_anchor_with_a_box():
    target = np.zeros((2, 3, 5), "float32")
    target[0, :2, 4] = 1
    target[0, 0, :4] = (1, 0, 0, 0)
    guess = np.zeros((2, 3, 4), "float32")
    guess[0, 1] = (0, 3, 0, 0)
    guess[1] = 7  # no anchor has a box: no loss
    # The errors are 1 (square: 0.5) and 3 (line: 2.5), of two anchors in all.
    assert float(BoxLoss()(target, guess)) == pytest.approx((0.5 + 2.5) / 2)
    assert float(BoxLoss(delta=2.0)(target, guess)) == pytest.approx((0.5 + 4.0) / 2)


def cross_entropy(logits, label):
    return float(np.log(np.exp(logits).sum()) - logits[label])


def test_score_loss_counts_boxes_and_the_hardest_negatives():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 6, 3)).astype("float32")
    labels = np.array([[2, 0, 0, 0, -1, 0]], "float32")
    negatives = sorted((cross_entropy(logits[0, i], 0) for i in (1, 2, 3, 5)), reverse=True)
    want = cross_entropy(logits[0, 0], 2) + sum(negatives[:2])
    assert float(ScoreLoss(negatives=2, least=0)(labels, logits)) == pytest.approx(want, rel=1e-5)
    want = cross_entropy(logits[0, 0], 2) + sum(negatives[:3])
    assert float(ScoreLoss(negatives=2, least=3)(labels, logits)) == pytest.approx(want, rel=1e-5)


def test_score_loss_without_objects_learns_the_background():
    logits = np.zeros((2, 20, 3), "float32")
    got = float(ScoreLoss(least=8)(np.zeros((2, 20)), logits))
    assert got == pytest.approx(8 * np.log(3), rel=1e-5)


def test_losses_are_divided_by_the_boxes_of_the_batch():
    """An image with three boxes counts three times as much as one with a single box."""
    labels = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], "float32")
    logits = np.zeros((2, 4, 2), "float32")
    logits[1, 0, 1] = 5.0
    got = float(ScoreLoss(negatives=1e-6, least=0)(labels, logits))
    rows = [np.log(2), np.log(2), np.log(2), cross_entropy(logits[1, 0], 1)]
    # At least one negative counts where the share is above none: rank 0 is below 3e-6.
    assert got == pytest.approx((sum(rows) + 2 * np.log(2)) / 4, rel=1e-5)


@pytest.mark.parametrize(
    "loss", [BoxLoss(delta=0.3), ScoreLoss(negatives=2.0, least=5), DetectorLoss()]
)
def test_losses_can_be_saved(loss):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: BoxLoss(delta=0.0), "delta must be above 0: got 0.0"),
        (lambda: ScoreLoss(negatives=0.0), "negatives must be above 0"),
        (lambda: ScoreLoss(least=-1), "least 0 or more: got 3.0 and -1"),
    ],
)
def test_wrong_arguments_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_detector_loss_is_the_sum_of_both():
    rng = np.random.default_rng(0)
    has = rng.integers(0, 2, (3, 7)).astype("float32")
    boxes = np.concatenate([rng.normal(size=(3, 7, 4)), has[..., None]], axis=-1).astype("float32")
    true = {"boxes": boxes, "scores": has * rng.integers(1, 3, has.shape)}
    pred = {"boxes": rng.normal(size=(3, 7, 4)), "scores": rng.normal(size=(3, 7, 3))}
    want = float(BoxLoss()(boxes, pred["boxes"])) + float(
        ScoreLoss()(true["scores"], pred["scores"])
    )
    assert float(DetectorLoss()(true, pred)) == pytest.approx(want, rel=1e-6)
