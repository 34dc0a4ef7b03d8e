import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import nested_keras
from nested_keras import callbacks, layers, masks, model
from tests.nested_keras import nets

SPARSITIES = (0.75, 0.5, 0.25)


def tfmot_schedules():
    sparsity = pytest.importorskip("tensorflow_model_optimization").sparsity.keras
    return sparsity.PolynomialDecay, sparsity.ConstantSparsity


def polynomial(begin_step=2, end_step=10, frequency=3, final=0.6):
    return tfmot_schedules()[0](0.0, final, begin_step, end_step, frequency=frequency)


def data(count=24):
    return nets.images(count, (12,)), np.random.default_rng(1).integers(0, 3, count)


def dense_net(**kwargs):
    nested = model.nest(nets.dense_net(), SPARSITIES)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    nested.compile(keras.optimizers.Adam(0.05), loss, routing=0.5, **kwargs)
    return nested


class Recorder(keras.callbacks.Callback):
    """Notes at each step, just before it is trained, the kept weights of each level."""

    def __init__(self):
        super().__init__()
        self.kept = {}

    def on_train_batch_begin(self, batch, logs=None):
        hidden = self.model.get_layer("hidden")
        step = int(self.model.optimizer.iterations.numpy())
        self.kept[step] = [int(hidden.mask(level).sum()) for level in range(3)]


def fit(nested, schedule, *, steps, more=(), **kwargs):
    """Trains for epochs of four steps."""
    x, y = data(16)
    recorder = Recorder()
    pruning = callbacks.NestedPruning(schedule)
    nested.fit(
        *(x, y),
        batch_size=4,
        epochs=steps // 4,
        shuffle=False,
        verbose=0,
        callbacks=[pruning, recorder, *more],
        **kwargs,
    )
    return recorder.kept


def counts(ratio):
    """Kept weights of the 12 x 8 kernel at each level."""
    return [round((1 - sparsity * ratio) * 96) for sparsity in SPARSITIES]


def test_ramp_follows_the_polynomial_schedule():
    kept = fit(dense_net(), polynomial(), steps=16)
    # Steps 2, 5 and 8 are the schedule's; 10 is its end, off the frequency.
    ratio = 0.0
    for step in range(16):
        if step in (2, 5, 8, 10):
            ratio = 1 - (1 - min(1.0, (step - 2) / 8)) ** 3
        assert kept[step] == counts(ratio), f"at step {step}"
    assert kept[1] == kept[2] == [96, 96, 96]
    assert kept[5] != kept[8] != kept[10]


def test_final_sparsities_are_exact_when_the_schedule_ends_with_the_training():
    nested = dense_net()
    kept = fit(nested, polynomial(end_step=16, frequency=5), steps=16)
    assert kept[15] != counts(1.0)
    hidden = nested.get_layer("hidden")
    assert [hidden.mask(level).sum() for level in range(3)] == counts(1.0)
    assert not hidden.kernel.numpy()[~hidden.mask(2)].any()


@pytest.mark.parametrize("final", [0.1, 0.3, 0.6, 0.7, 0.9, 0.99])
def test_ramp_ends_at_one_for_every_final_sparsity(final):
    pruning = callbacks.NestedPruning(polynomial(final=final))
    assert pruning._ratio(10) == 1.0
    assert pruning._ratio(2) == 0.0


def test_constant_schedule_prunes_at_its_first_step():
    kept = fit(dense_net(), tfmot_schedules()[1](0.5, begin_step=3, frequency=100), steps=8)
    assert [kept[step] for step in range(8)] == [[96] * 3] * 3 + [counts(1.0)] * 5


def test_any_function_of_the_step_is_a_schedule():
    asked = []

    def schedule(step):
        asked.append(step)
        return step in (1, 6), 0.2 if step < 6 else 0.4

    schedule.final_sparsity = 0.4
    kept = fit(dense_net(), schedule, steps=8)
    assert kept[0] == [96] * 3
    assert kept[1] == kept[5] == counts(np.float32(0.2) / np.float32(0.4))
    assert kept[6] == kept[7] == counts(1.0)
    assert set(asked) == set(range(8))


def test_schedule_is_asked_at_its_frequency_only():
    schedule = polynomial(begin_step=1, end_step=9, frequency=4)
    asked = []

    class Counting(type(schedule)):
        def __call__(self, step):
            asked.append(step)
            return super().__call__(step)

    schedule.__class__ = Counting
    fit(dense_net(), schedule, steps=12)
    assert set(asked) == {1, 5, 9}


def test_steps_per_execution_misses_no_step():
    nested = dense_net(steps_per_execution=4)
    kept = fit(nested, polynomial(begin_step=0, end_step=6, frequency=5), steps=12)
    assert kept[0] == [96] * 3
    assert kept[4] == kept[0], "step 5 falls within this execution"
    assert kept[8] == counts(1.0)


def assert_same_state(one, other):
    for mine, theirs in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs, err_msg=mine.path)
    for mine, theirs in zip(one.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs, err_msg=mine.path)


@pytest.mark.parametrize(("stop", "end_step"), [(4, 11), (8, 8), (12, 11)])
def test_saving_and_resuming_equals_one_run_bit_for_bit(tmp_path, stop, end_step):
    whole = dense_net()
    fit(whole, polynomial(end_step=end_step), steps=16)
    first = dense_net()
    fit(first, polynomial(end_step=end_step), steps=stop)
    first.save(tmp_path / "model.keras")
    resumed = nested_keras.load_model(tmp_path / "model.keras")
    fit(resumed, polynomial(end_step=end_step), steps=16, initial_epoch=stop // 4)
    assert_same_state(resumed, whole)


class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations.numpy()) == 11:
            raise KeyboardInterrupt


def test_backup_and_restore_resumes_bit_for_bit(tmp_path):
    whole = dense_net()
    fit(whole, polynomial(end_step=13), steps=16)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(dense_net(), polynomial(end_step=13), steps=16, more=[backup, Kill()])
    resumed = dense_net()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    kept = fit(resumed, polynomial(end_step=13), steps=16, more=[backup])
    assert min(kept) == 8, "two epochs of four steps were saved"
    assert_same_state(resumed, whole)


def test_moving_average_of_the_weights_leaves_pruned_ones_at_zero():
    nested = dense_net()
    nested.compile(keras.optimizers.Adam(0.05, use_ema=True), "mse")
    nested.fit(
        nets.images(16, (12,)),
        nets.images(16, (3,)),
        batch_size=4,
        verbose=0,
        callbacks=[callbacks.NestedPruning(polynomial(begin_step=1, end_step=3))],
    )
    hidden = nested.get_layer("hidden")
    assert not hidden.kernel.numpy()[~hidden.mask(2)].any()
    assert hidden.kernel.numpy()[hidden.mask(2)].all()


def test_wrong_pruning_arguments_are_refused():
    with pytest.raises(TypeError, match=r"schedule must be a function of the step .*: got 0.9"):
        callbacks.NestedPruning(0.9)
    with pytest.raises(ValueError, match=r"final_sparsity must lie in \(0, 1\].*: got None"):
        callbacks.NestedPruning(lambda step: (True, 0.5))
    with pytest.raises(ValueError, match=r"final_sparsity must lie in \(0, 1\].*: got 1.5"):
        callbacks.NestedPruning(lambda step: (True, 0.5), final_sparsity=1.5)
    too_much = callbacks.NestedPruning(lambda step: (True, 0.75), final_sparsity=0.5)
    with pytest.raises(ValueError, match=r"sparsity in \[0, 0.5\]: got 0.75 at step 0"):
        dense_net().fit(*data(), verbose=0, callbacks=[too_much])


@pytest.mark.parametrize(
    "callback",
    [
        lambda: callbacks.NestedPruning(lambda step: (True, 0.5), final_sparsity=0.5),
        lambda: callbacks.BatchNormReestimation(np.zeros((4, 12))),
    ],
)
def test_callbacks_refuse_plain_models(callback):
    plain = nets.dense_net()
    plain.compile("sgd", "mse")
    with pytest.raises(TypeError, match="model must be a NestedModel: got Sequential"):
        plain.fit(*data(), verbose=0, callbacks=[callback()])


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


@pytest.mark.parametrize("form", ["array", "dataset", "list"])
def test_reestimation_pools_batch_statistics_per_level(form):
    nested = norm_net()
    x = nets.images(20, (6,)) * 3 + 1
    batches = [x[:8], x[8:16], x[16:]]
    given = {
        "array": x,
        "dataset": tf.data.Dataset.from_tensor_slices((x, np.zeros(20))).batch(8),
        "list": [(batch, None) for batch in batches],
    }[form]
    norm = nested.get_layer("norm")
    before = {w.path: w.numpy() for w in nested.weights if w.path.split("/")[-1][:6] != "moving"}
    callbacks.reestimate_batch_norm(nested, given, batch_size=8)
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


def test_reestimation_stops_after_the_batches_asked_for():
    nested = norm_net()
    x = nets.images(20, (6,))
    callbacks.reestimate_batch_norm(nested, x, batches=2, batch_size=4)
    mean, _ = reference_statistics(nested, [x[:4], x[4:8]])
    np.testing.assert_allclose(nested.get_layer("norm").moving_mean, mean, rtol=1e-5, atol=1e-6)


def test_reestimation_leaves_frozen_norms_alone():
    nested = norm_net(trainable=False)
    before = nested.get_layer("norm").moving_mean.numpy()
    callbacks.reestimate_batch_norm(nested, nets.images(20, (6,)))
    np.testing.assert_array_equal(nested.get_layer("norm").moving_mean, before)


def test_reestimation_runs_when_training_ends():
    nested = norm_net()
    nested.compile("sgd", "mse")
    x, y = nets.images(16, (6,)), nets.images(16, (5,))
    estimate = callbacks.BatchNormReestimation(x, batches=2, batch_size=8)
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


def test_masks_are_recomputed_from_the_weights_of_that_step():
    nested = dense_net()
    seen = []

    class Snapshot(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(nested.get_layer("hidden").kernel.numpy())

    x, y = data(16)
    pruning = callbacks.NestedPruning(tfmot_schedules()[1](0.5, begin_step=2, frequency=100))
    nested.fit(*(x, y), batch_size=4, verbose=0, shuffle=False, callbacks=[Snapshot(), pruning])
    np.testing.assert_array_equal(
        nested.get_layer("hidden").level_map, masks.level_map(seen[2], SPARSITIES)
    )


def test_regrowing_weights_learn_until_the_masks_freeze():
    nested = dense_net()
    hidden = nested.get_layer("hidden")
    x, y = data(16)
    seen = []

    class Snapshot(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            kept = hidden.mask(2)
            seen.append((kept, hidden.kernel.numpy()[~kept]))

    schedule = tfmot_schedules()[0](0.5, 0.6, 0, 8, frequency=2)
    nested.fit(
        *(x, y),
        batch_size=4,
        epochs=3,
        shuffle=False,
        verbose=0,
        callbacks=[callbacks.NestedPruning(schedule, regrow=True), Snapshot()],
    )
    assert all(pruned.all() for _, pruned in seen[1:8]), "kept and learning"
    assert not np.array_equal(seen[2][1], seen[3][1])
    came_back = [(~old & new).sum() for (old, _), (new, _) in itertools.pairwise(seen[:9])]
    assert sum(came_back) > 0
    assert not any(pruned.any() for _, pruned in seen[8:])
    assert all(np.array_equal(seen[8][0], kept) for kept, _ in seen[8:])
    assert hidden.regrow is False


def test_the_gradient_of_a_regrowing_weight_is_that_of_the_densest_level():
    nested = model.nest(nets.dense_net(), SPARSITIES)
    nested.prune(regrow=True)
    hidden = nested.get_layer("hidden")
    assert hidden.kernel.numpy().all()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    nested.compile(keras.optimizers.SGD(1.0), loss, routing=0.5)
    x, y = data()
    used = tf.Variable(hidden.masked_kernel())
    with tf.GradientTape() as tape:
        features = tf.nn.relu(x @ used + hidden.bias)
        total = loss(y, nested.get_layer("head")(features))
    gradient = tape.gradient(total, used).numpy()
    before = hidden.kernel.numpy()
    hidden.regrow = True
    nested.train_on_batch(x, y)
    moved = (before - hidden.kernel.numpy())[~hidden.mask(2)]
    np.testing.assert_allclose(moved, gradient[~hidden.mask(2)], rtol=1e-3, atol=1e-5)
    assert moved.any()


def test_regrowing_needs_an_end():
    with pytest.raises(ValueError, match=r"schedule must have an end_step, .* regrow: got -1"):
        callbacks.NestedPruning(lambda step: (True, 0.5), final_sparsity=0.5, regrow=True)
