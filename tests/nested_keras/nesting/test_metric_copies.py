import threading

import keras
import numpy as np
import pytest

from nested_keras.nesting import model
from nested_keras.nesting.metric_copies import copy_metrics
from tests.nested_keras import nets

pytestmark = pytest.mark.slow


class Share(keras.metrics.Metric):
    """The share of scores above a threshold; has no get_config, and variables in a list."""

    def __init__(self, threshold=0.5, **kwargs):
        super().__init__(name="share", **kwargs)
        self.is_above = lambda scores: scores > threshold
        self.sums = [self.add_weight(initializer="zeros", name="above"), keras.metrics.Sum()]
        self.calls = []

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.calls.append(len(self.calls))
        above = keras.ops.cast(self.is_above(y_pred), "float32")
        self.sums[0].assign_add(keras.ops.sum(above))
        self.sums[1].update_state(keras.ops.ones_like(above))

    def result(self):
        return self.sums[0] / self.sums[1].result()


def test_a_copy_keeps_the_attributes_and_has_its_own_state():
    original = Share(threshold=0.9)
    (copied,) = copy_metrics([original])
    scores = np.float32([[0.95, 0.8]])
    original.update_state(None, scores)
    copied.update_state(None, np.float32([[1.0, 1.0, 0.0, 0.0, 0.0]]))
    assert float(original.result()) == 0.5
    assert float(copied.result()) == pytest.approx(0.4)
    assert (original.calls, copied.calls) == ([0], [0])
    assert len(copied.variables) == len(original.variables) == 2
    assert not {id(v) for v in original.variables} & {id(v) for v in copied.variables}
    copied.reset_state()
    assert float(original.result()) == 0.5


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.metrics.AUC(num_thresholds=7),
        lambda: keras.metrics.AUC(multi_label=True, num_labels=3),
        lambda: keras.metrics.MeanIoU(3),
        lambda: keras.metrics.F1Score(average="macro", threshold=0.3),
        lambda: keras.metrics.MeanMetricWrapper(lambda y, p: p, name="mean_score"),
        lambda: keras.metrics.SensitivityAtSpecificity(0.3),
        lambda: keras.metrics.SparseTopKCategoricalAccuracy(2),
    ],
)
def test_keras_metrics_are_copied(make):
    copied = copy_metrics(make())
    assert [v.shape for v in copied.variables] == [v.shape for v in make().variables]


def test_structure_names_and_functions_stay():
    metric = keras.metrics.Mean()
    given = {"a": [metric, "accuracy", None], "b": (metric, keras.losses.mean_squared_error)}
    copied = copy_metrics(given)
    assert copied["a"][1:] == ["accuracy", None]
    assert copied["b"][1] is keras.losses.mean_squared_error
    assert copied["a"][0] is copied["b"][0] is not metric


def test_a_metric_may_read_a_layer():
    metric = keras.metrics.Mean()
    metric.features = keras.layers.Dense(2)
    assert copy_metrics(metric).features is metric.features


def test_what_cannot_be_copied_is_named():
    metric = keras.metrics.Mean(name="locked")
    metric.lock = threading.Lock()
    with pytest.raises(ValueError, match="metric 'locked' must be one that"):
        copy_metrics([metric])


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize("argument", ["metrics", "weighted_metrics"])
def test_each_level_measures_as_keras_does(argument, run_eagerly):
    base = nets.dense_net()
    x, y = nets.images(24, (12,)), np.arange(24) % 3
    nested = model.nest(base, (0.5, 0.25))
    nested.prune()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    nested.compile("sgd", loss, **{argument: [Share(threshold=0.4)]}, run_eagerly=run_eagerly)
    for row in nested.evaluate_levels(x, y, batch_size=8):
        plain = nested.at_level(row["level"])
        assert row["share"] == pytest.approx(float(np.mean(plain(x).numpy() > 0.4)))
