import keras
import numpy as np
import tensorflow as tf

from nested_keras.nesting.batches import Batch
from nested_keras.nesting.judge import Judge, Measures


def judge(loss=None, loss_weights=None, metrics=None, weighted_metrics=None, names=("a",)):
    return Judge(Measures(loss, loss_weights, metrics, weighted_metrics), list(names))


def test_a_judge_measures_one_output():
    metric = keras.metrics.MeanAbsoluteError(name="off")
    mine = judge("mse", 0.5, [metric], ["mse"])
    y, y_pred = np.array([[1.0], [2.0]], np.float32), np.array([[3.0], [2.0]], np.float32)
    batch = Batch(None, y, np.array([1.0, 3.0], np.float32))
    (loss,) = mine.losses_of(batch, y_pred)
    mine.count(batch, y_pred)
    assert float(loss) == 0.5 * 4.0 / 2
    assert {name: float(value) for name, value in mine.get_metrics_result().items()} == {
        "off": 1,
        "mse": 1,
    }
    assert [each.name for each in mine.single_metrics()] == ["off", "mse"]
    assert not float(metric.result())  # the judge counts in a copy
    assert mine.optimizer is None


def test_a_judge_names_the_losses_of_several_outputs():
    mine = judge({"a": "mse", "b": "mae"}, {"a": 1.0, "b": 2.0}, {"b": ["mae"]}, names="ab")
    batch = Batch(None, [np.ones((2, 1)), np.ones((2, 1))])
    y_pred = [tf.zeros((2, 1)), tf.fill((2, 1), 3.0)]
    (loss,) = mine.losses_of(batch, y_pred)
    mine.count(batch, y_pred)
    assert float(loss) == 1.0 + 2.0 * 2.0
    found = {name: float(value) for name, value in mine.get_metrics_result().items()}
    assert found == {"b_mae": 2.0, "a_loss": 1.0, "b_loss": 2.0}  # without the weights


def test_a_judge_without_loss_and_metrics_finds_nothing():
    mine = judge()
    batch = Batch(None, np.ones((2, 1)))
    mine.count(batch, tf.zeros((2, 1)))
    assert mine.losses_of(batch, tf.zeros((2, 1))) == []
    assert mine.get_metrics_result() == {}


def test_prepare_makes_the_variables_and_counts_nothing():
    mine = judge(["mse", "mse"], None, [["accuracy"], [keras.metrics.AUC()]], names="ab")
    batch = Batch(None, [np.ones((4, 3)), np.ones((4, 1))])
    mine.prepare(batch, [tf.ones((4, 3)), tf.ones((4, 1))])
    assert mine.ready
    variables = [v for metric in mine.measured() for v in metric.variables]
    assert len(variables) == 2 + 4 + 2 * 2
    assert not any(np.any(v) for v in variables)
