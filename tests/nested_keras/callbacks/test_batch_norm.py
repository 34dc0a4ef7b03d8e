import keras
import numpy as np
import pytest
import tensorflow as tf

from nested_keras import callbacks
from nested_keras.callbacks import batch_norm
from nested_keras.callbacks.batch_norm import sample
from nested_keras.nesting import layers, model
from nested_keras.nesting.input_forms import InputKey
from tests.nested_keras import nets

pytestmark = pytest.mark.slow


def norm_net(**kwargs):
    """A nested Dense, dropout before it, a shared norm after it."""
    inputs = keras.Input((6,))
    x = keras.layers.Dropout(0.5)(inputs)
    x = keras.layers.Dense(5, name="hidden")(x)
    norm = keras.layers.BatchNormalization(name="norm", **kwargs)
    x = norm(x)
    base = keras.Model(inputs, norm(keras.layers.ReLU()(x)))
    nested = model.nest(nets.randomise(base, seed=0), (0.6, 0.3), exclude=())
    nested.prune()
    return nested


def reference_statistics(nested, batches):
    """Pooled statistics of the shared norm by hand, over both of its calls, per level."""
    hidden, norm = nested.get_layer("hidden"), nested.get_layer("norm")
    rows = []
    for level in range(2):
        size, means, squares = 0, 0.0, 0.0
        for x in batches:
            x = x.astype("float64")
            h = x @ (hidden.kernel.numpy() * hidden.mask(level)) + hidden.bias.numpy()
            for _ in range(2):
                mean, variance = h.mean(0), h.var(0)
                size += len(x)
                means = means + len(x) * mean
                squares = squares + len(x) * (variance + mean**2)
                normal = (h - mean) / np.sqrt(variance + norm.epsilon)
                h = np.maximum(normal * norm.gamma.numpy()[level] + norm.beta.numpy()[level], 0)
        rows.append((means / size, squares / size - (means / size) ** 2))
    return [np.stack(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("form", ["array", "tuple", "dataset", "list"])
def test_reestimation_pools_batch_statistics_per_level(form):
    nested = norm_net()
    x = nets.images(20, (6,)) * 3 + 1
    batches = [x[:8], x[8:16], x[16:]]
    if form in ("array", "tuple"):
        batches = [x]  # in one batch: the examples of an array are shuffled
    given = {
        "array": x,
        "tuple": (x, -x),
        "dataset": tf.data.Dataset.from_tensor_slices((x, np.zeros(20))).batch(8),
        "list": [(batch, None) for batch in batches],
    }[form]
    norm = nested.get_layer("norm")
    before = {w.path: w.numpy() for w in nested.weights if w.path.split("/")[-1][:6] != "moving"}
    callbacks.reestimate_batch_norm(nested, given, batch_size=20)
    mean, variance = reference_statistics(nested, batches)
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-5)
    assert not np.allclose(mean[0], mean[1])
    for weight in nested.weights:
        if weight.path in before:
            np.testing.assert_array_equal(weight, before[weight.path])
    assert norm.statistics_sink is None


def test_reestimation_over_one_batch_of_everything_is_the_population():
    inputs = keras.Input((6,))
    x = layers.NestedDense(4, sparsities=(0.5,), name="hidden")(inputs)
    norm = layers.NestedBatchNormalization(levels=1)
    nested = model.NestedModel(inputs, norm(x))
    data_ = nets.images(32, (6,))
    hidden = nested.get_layer("hidden")(data_).numpy()
    callbacks.reestimate_batch_norm(nested, data_, batch_size=8)
    np.testing.assert_allclose(norm.moving_mean[0], hidden.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance[0], hidden.var(0), rtol=1e-5)


def drawn(data, *, batches=None, batch_size=32):
    keys = [InputKey((), "x")]
    return [np.asarray(b) for b in sample(data, keys, batches=batches, batch_size=batch_size)]


def test_a_sample_of_an_array_has_the_size_asked_for_and_is_mixed():
    x = np.arange(5000.0)[:, None]  # sorted
    given = drawn(x, batches=4, batch_size=50)
    assert [len(batch) for batch in given] == [50] * 4
    assert len(np.unique(given)) == 200
    for batch in given:
        thirds = np.histogram(batch, bins=[0, 1667, 3334, 5000])[0]
        assert thirds.min() >= 8, "from the whole of the array, in every batch"
    assert sum(map(len, drawn(x))) == 2000
    small = drawn(x[:300])
    np.testing.assert_array_equal(np.sort(np.concatenate(small), axis=0), x[:300])
    assert all(batch.max() - batch.min() > 150 for batch in small), "mixed, if all are taken"
    np.testing.assert_array_equal(np.concatenate(small), np.concatenate(drawn(x[:300])))
    np.testing.assert_array_equal(
        np.concatenate(drawn(tf.constant(x[:300]))), np.concatenate(small)
    )


class Batches(keras.utils.PyDataset):
    """Batches that go on behind the end, as slices do."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return np.full((100, 1), float(index)), np.zeros(100)


class EndlessBatches(Batches):
    num_batches = None


def endless():
    index = 0
    while True:
        yield np.full((100, 1), float(index))
        index += 1


def numbered(count=100):
    return tf.data.Dataset.range(count).map(lambda i: tf.fill((100, 1), tf.cast(i, "float32")))


@pytest.mark.parametrize(
    ("make", "end"),
    [
        (numbered, 100),
        (lambda: numbered().repeat(), 200),
        (lambda: numbered(1000).filter(lambda x: x[0, 0] >= 0), 200),
        (lambda: Batches(100), 100),
        (lambda: EndlessBatches(5), 200),
        (endless, 200),
        (lambda: [np.full((100, 1), float(i)) for i in range(100)], 100),
    ],
    ids=["dataset", "repeated", "unknown", "PyDataset", "endless PyDataset", "endless", "list"],
)
def test_a_sample_of_batches_ends_and_is_not_the_first_ones(make, end):
    """20 batches of 100 are 2000 examples; data without an end are searched for 200."""
    for batches, wanted in ((None, 20), (7, 7)):
        seen = 10 * wanted if end == 200 else end
        found = np.array([batch[0, 0] for batch in drawn(make(), batches=batches)]) % 100
        assert len(found) == wanted
        assert len(set(found)) > 0.7 * wanted
        assert min(100, seen) > found.max() > min(100, seen) / 2


def test_few_batches_are_all_taken_as_they_come():
    x = nets.images(20, (6,))
    given = drawn(tf.data.Dataset.from_tensor_slices((x, np.zeros(20))).batch(8))
    np.testing.assert_array_equal(np.concatenate(given), x)
    assert [len(batch) for batch in given] == [8, 8, 4]


def test_a_sample_for_several_inputs_keeps_examples_together():
    x = np.arange(100.0)[:, None]
    keys = [InputKey(("a",), "a"), InputKey(("b",), "b")]
    given = sample({"a": x, "b": -x}, keys, batches=3, batch_size=10)
    assert len(given) == 3
    for batch in given:
        np.testing.assert_array_equal(batch["a"], -batch["b"])
    for data in ([x, -x], (x, -x), ([x, -x], x), ((x, -x), x, x)):
        listed = sample(data, keys, batches=3, batch_size=10)
        for (a, b), batch in zip(listed, given, strict=True):
            np.testing.assert_array_equal(a, batch["a"])
            np.testing.assert_array_equal(b, batch["b"])
    (batch,) = sample([([x, -x], x)], keys, batches=None, batch_size=10)
    np.testing.assert_array_equal(batch, [x, -x])
    with pytest.raises(TypeError, match="data must be arrays in a dict: got int"):
        sample({"a": 1, "b": 2}, keys, batches=None, batch_size=10)


@pytest.mark.parametrize("more", [1, 2])
def test_a_tuple_is_inputs_and_targets_as_in_fit(more):
    x = nets.images(300, (6,))
    given = drawn((x, *[-x] * more))
    np.testing.assert_array_equal(np.concatenate(given), np.concatenate(drawn(x)))
    assert len(drawn(tuple(np.split(x, 4)))) == 4, "batches"
    assert len(drawn(((x, x), (x, x)))) == 2, "batches"


def test_sorted_data_give_the_statistics_of_mixed_data():
    nested = norm_net()
    x = np.sort(nets.images(4000, (6,)), axis=0) * 3
    norm = nested.get_layer("norm")
    callbacks.reestimate_batch_norm(nested, np.random.default_rng(5).permutation(x))
    mixed = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    callbacks.reestimate_batch_norm(nested, x)
    np.testing.assert_allclose(norm.moving_mean, mixed[0], atol=0.1)
    np.testing.assert_allclose(norm.moving_variance, mixed[1], rtol=0.2, atol=0.05)


def test_reestimation_leaves_frozen_norms_alone():
    nested = norm_net(trainable=False)
    before = nested.get_layer("norm").moving_mean.numpy()
    callbacks.reestimate_batch_norm(nested, nets.images(20, (6,)))
    np.testing.assert_array_equal(nested.get_layer("norm").moving_mean, before)


def test_reestimation_runs_when_training_ends():
    nested = norm_net()
    nested.compile("sgd", "mse")
    x, y = nets.images(16, (6,)), nets.images(16, (5,))
    estimate = callbacks.BatchNormReestimation([x[:8], x[8:]])
    nested.fit(x, y, batch_size=8, verbose=0, callbacks=[estimate])
    mean, variance = reference_statistics(nested, [x[:8], x[8:]])
    norm = nested.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-4, atol=1e-6)


def test_wrong_reestimation_arguments_are_refused():
    nested = norm_net()
    with pytest.raises(ValueError, match="data must give at least one batch: got none"):
        callbacks.reestimate_batch_norm(nested, [])
    with pytest.raises(ValueError, match="batches must be at least 1: got 0"):
        callbacks.reestimate_batch_norm(nested, np.zeros((4, 6)), batches=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1: got 0"):
        callbacks.reestimate_batch_norm(nested, np.zeros((4, 6)), batch_size=0)
    with pytest.raises(TypeError, match="model must be a NestedModel: got Sequential"):
        callbacks.reestimate_batch_norm(nets.dense_net(), np.zeros((4, 12)))


@pytest.mark.parametrize("validated", [True, False])
def test_every_epoch_is_validated_and_saved_with_statistics_of_its_weights(tmp_path, validated):
    """The moving averages of six steps are far off."""
    nested = norm_net()
    nested.compile(keras.optimizers.Adam(0.05), "mse")
    x, y = nets.images(24, (6,)) * 3 + 1, nets.images(24, (5,))
    watch = {"validation_data": (x, y)} if validated else {}
    save = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    estimate = callbacks.BatchNormReestimation(x, batch_size=24)
    history = nested.fit(
        *(x, y), batch_size=8, epochs=2, verbose=0, callbacks=[save, estimate], **watch
    ).history
    norm = nested.get_layer("norm")
    mean, _ = reference_statistics(nested, [x])
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4, atol=1e-5)
    after = nets.evaluate(nested, x, y)
    if validated:
        assert history["val_level_0_loss"][-1] == pytest.approx(after["level_0_loss"], rel=1e-6)
        assert history["val_loss"][-1] == pytest.approx(after["loss"], rel=1e-6)
    saved = keras.models.load_model(tmp_path / "2.keras")
    assert nets.evaluate(saved, x, y)["loss"] == pytest.approx(after["loss"])
    assert estimate._estimate is None, "the sample is let go"


def test_a_fit_draws_one_sample_and_traces_once(monkeypatch):
    drawn, traced = [], []

    def counting(data, keys, **kwargs):
        drawn.append(data)
        return sample(data, keys, **kwargs)

    def tracing(*args):
        traced.append(args)
        return statistics(*args)

    statistics = batch_norm._statistics
    monkeypatch.setattr(batch_norm, "sample", counting)
    monkeypatch.setattr(batch_norm, "_statistics", tracing)
    nested = norm_net()
    nested.compile("sgd", "mse")
    x, y = nets.images(16, (6,)), nets.images(16, (5,))
    estimate = callbacks.BatchNormReestimation((x[:8] for _ in iter(int, 1)), batches=2)
    nested.fit(x, y, epochs=3, verbose=0, callbacks=[estimate])
    assert (len(drawn), len(traced)) == (1, 1)


def test_a_model_trained_quantisation_aware_is_refused_before_training():
    nested = norm_net()
    nested.compile("sgd", "mse")
    nested.quantization = {"some": {}}
    estimate = callbacks.BatchNormReestimation(nets.images(16, (6,)))
    with pytest.raises(ValueError, match="statistics must stay after export"):
        nested.fit(nets.images(8, (6,)), nets.images(8, (5,)), verbose=0, callbacks=[estimate])
    assert int(nested.optimizer.iterations.numpy()) == 0
