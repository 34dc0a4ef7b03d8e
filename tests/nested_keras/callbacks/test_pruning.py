import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import nested_keras
from nested_keras import callbacks
from nested_keras.nesting import masks, model
from tests.nested_keras import nets

pytestmark = pytest.mark.slow

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


@pytest.mark.filterwarnings("ignore:levels are not at their sparsities")  # where it stops
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
    with pytest.raises(ValueError, match=r"0 <= begin < end <= 1: got 0.6 and 0.6"):
        callbacks.NestedPruning(begin=0.6)
    with pytest.raises(ValueError, match="frequency must be at least 1: got 0"):
        callbacks.NestedPruning(frequency=0)
    with pytest.raises(ValueError, match=r"must go without a schedule.*'end': 0.5"):
        callbacks.NestedPruning(lambda step: (True, 0.5), final_sparsity=0.5, end=0.5)
    with pytest.raises(ValueError, match=r"final_sparsity must go with a schedule.*: got 0.9"):
        callbacks.NestedPruning(final_sparsity=0.9)
    with pytest.raises(ValueError, match=r"sparsity in \[0, 0.5\]: got 0.75 at step 0"):
        dense_net().fit(*data(), verbose=0, callbacks=[too_much])


@pytest.mark.parametrize(
    "callback",
    [
        lambda: callbacks.NestedPruning(lambda step: (True, 0.5), final_sparsity=0.5),
        callbacks.NestedPruning,
        lambda: callbacks.BatchNormReestimation(np.zeros((4, 12))),
        lambda: callbacks.LevelCheckpoint("best.keras"),
    ],
)
def test_callbacks_refuse_plain_models(callback):
    plain = nets.dense_net()
    plain.compile("sgd", "mse")
    with pytest.raises(TypeError, match="model must be a NestedModel: got Sequential"):
        plain.fit(*data(), verbose=0, callbacks=[callback()])


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


def ramp(nested, *, epochs, pruning=None, more=(), **kwargs):
    """Trains for epochs of four steps; returns the kept weights at each step of this fit."""
    recorder = Recorder()
    calls = [pruning or callbacks.NestedPruning(frequency=1), recorder, *more]
    if "x" not in kwargs:
        x, y = data(16)
        kwargs.update(x=x, y=y, batch_size=4)
    nested.fit(epochs=epochs, shuffle=False, verbose=0, callbacks=calls, **kwargs)
    return recorder.kept


def is_final(nested):
    hidden = nested.get_layer("hidden")
    return [int(hidden.mask(level).sum()) for level in range(3)] == counts(1.0)


# Keras complains of the end of each epoch.
runs_out = pytest.mark.filterwarnings("ignore:Your input ran out of data")


def unsized():
    """A dataset that does not say how many batches it has."""
    return tf.data.Dataset.from_tensor_slices(data(16)).batch(4).filter(lambda x, y: True)


def test_a_ramp_without_a_schedule_takes_its_length_from_the_fit():
    kept = ramp(dense_net(), epochs=5)
    for step in range(20):
        left = 1 - min(1.0, step / 12)
        assert kept[step] == counts(1 - left**3), f"at step {step}"


@pytest.mark.parametrize(
    ("arguments", "begins", "ends", "steps"),
    [
        ({"begin": 0.25, "end": 0.75, "frequency": 2}, 5, 15, [5, 7, 9, 11, 13, 15]),
        ({"end": 1.0, "frequency": 7}, 0, 20, [7, 14]),
    ],
)
def test_a_ramp_keeps_to_its_shares_and_frequency(arguments, begins, ends, steps):
    nested = dense_net()
    kept = ramp(nested, epochs=5, pruning=callbacks.NestedPruning(**arguments))
    changes = [step for step in range(1, 20) if kept[step] != kept[step - 1]]
    assert set(changes) <= set(steps)
    assert kept[begins] == [96] * 3
    assert (kept[19] == counts(1.0)) == (ends < 20)
    assert is_final(nested)


def test_a_fit_of_a_single_step_ends_at_the_final_sparsities():
    nested = dense_net()
    nested.fit(*data(4), batch_size=4, verbose=0, callbacks=[callbacks.NestedPruning()])
    assert is_final(nested)


@runs_out
@pytest.mark.parametrize("epochs", [2, 3, 5])
def test_steps_that_nobody_knows_are_counted_in_the_first_epoch(epochs):
    nested = dense_net()
    kept = ramp(nested, epochs=epochs, x=unsized())
    assert [kept[step] for step in range(4)] == [[96] * 3] * 4
    assert is_final(nested)
    # Keras may count one step more, which finds no data.
    assert kept[max(6, int(0.6 * 5 * epochs))] == counts(1.0)
    ratios = list(dict.fromkeys(map(tuple, kept.values())))
    assert len(ratios) > (2 if epochs > 2 else 1), "a ramp, as far as there is room for one"


def test_steps_that_nobody_knows_in_a_single_epoch_are_refused():
    with pytest.raises(ValueError, match="must have a schedule, or fit steps_per_epoch"):
        ramp(dense_net(), epochs=1, x=unsized())
    nested = dense_net()
    ramp(nested, epochs=1, x=unsized().repeat(), steps_per_epoch=4)
    assert is_final(nested)


def test_a_second_fit_never_falls_back():
    nested = dense_net()
    ramp(nested, epochs=2)
    kept = ramp(nested, epochs=2)
    assert set(map(tuple, kept.values())) == {tuple(counts(1.0))}
    nested.compile("sgd", nested.loss)  # which counts from 0 again
    assert set(map(tuple, ramp(nested, epochs=1).values())) == {tuple(counts(1.0))}


def test_a_ramp_goes_on_from_where_the_model_is():
    nested = dense_net()
    nested.prune(0.5)
    kept = ramp(nested, epochs=5)
    assert kept[0] == counts(0.5)
    assert all(now <= then for then, now in itertools.pairwise(map(sum, kept.values())))
    assert is_final(nested)


@pytest.mark.parametrize("regrow", [False, True])
def test_a_resumed_ramp_without_a_schedule_equals_one_run(tmp_path, regrow):
    def pruning():
        return callbacks.NestedPruning(regrow=regrow, frequency=3)

    whole = dense_net()
    ramp(whole, epochs=4, pruning=pruning())
    for stop in (5, 11):  # in the ramp and after it
        backup = tmp_path / f"{stop}"

        class Stop(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None, stop=stop):
                if int(self.model.optimizer.iterations.numpy()) == stop:
                    raise KeyboardInterrupt

        kills = [keras.callbacks.BackupAndRestore(backup), Stop()]
        with pytest.raises(KeyboardInterrupt):
            ramp(dense_net(), epochs=4, pruning=pruning(), more=kills)
        resumed = dense_net()
        more = [keras.callbacks.BackupAndRestore(backup)]
        ramp(resumed, epochs=4, pruning=pruning(), more=more)
        assert_same_state(resumed, whole)


@pytest.mark.parametrize("accumulated", [3, 4])
@pytest.mark.parametrize("plain", [True, False])
def test_accumulated_gradients_do_not_change_the_ramp(accumulated, plain):
    nested = dense_net()
    optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=accumulated)
    nested.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(nested.level_sparsity(0))
    )
    schedule = polynomial(begin_step=0, end_step=12, frequency=1)
    pruning = callbacks.NestedPruning(frequency=1) if plain else callbacks.NestedPruning(schedule)
    ramp(nested, epochs=5, pruning=pruning, more=[watch])
    expected = [1 - counts(1 - (1 - min(1.0, step / 12)) ** 3)[0] / 96 for step in range(20)]
    np.testing.assert_allclose(seen, expected)


@runs_out
@pytest.mark.parametrize("known", [True, False])
def test_executions_of_several_steps_count_the_last_one_as_it_is(known):
    """Executions of three steps: an epoch of four has one of three and one of one."""
    nested = dense_net(steps_per_execution=3)
    pruning = callbacks.NestedPruning(frequency=1)
    source = {} if known else {"x": unsized()}
    kept = ramp(nested, epochs=5, pruning=pruning, **source)
    assert kept[8] != counts(1.0)
    assert kept[15] == counts(1.0)
    assert is_final(nested)


OPTIMIZERS = [
    name
    for name in dir(keras.optimizers)
    if isinstance(getattr(keras.optimizers, name), type)
    and issubclass(getattr(keras.optimizers, name), keras.optimizers.Optimizer)
    and name not in ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
]


def with_optimizer(optimizer):
    nested = dense_net()
    nested.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ramp(nested, epochs=4)
    hidden = nested.get_layer("hidden")
    assert is_final(nested)
    assert all(np.isfinite(v.numpy()).all() for v in nested.variables)
    if not isinstance(optimizer, getattr(keras.optimizers, "Muon", ())):
        assert not hidden.kernel.numpy()[~hidden.mask(2)].any(), "pruned weights stay at zero"
    # Muon moves all weights of a kernel, for all that: the levels do not see it.
    assert not hidden.masked_kernel(2).numpy()[~hidden.mask(2)].any()
    return nested


def require_of_keras(optimizer):
    """Skips an optimizer with which Keras itself cannot train, as Muon of Keras 3.12."""
    plain = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5), keras.layers.Dense(3)])
    plain.compile(optimizer, "mse")
    try:
        plain.fit(np.zeros((8, 6)), np.zeros((8, 3)), verbose=0)
    except AttributeError as error:
        pytest.skip(f"Keras {keras.__version__} cannot train with it: {error}")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_pruned_weights_stay_at_zero_under_every_optimizer(name):
    if name == "Muon":
        require_of_keras(keras.optimizers.Muon(0.01))
    nested = with_optimizer(getattr(keras.optimizers, name)(0.01))
    before = nested.get_layer("hidden").kernel.numpy()
    nested.fit(*data(16), batch_size=4, verbose=0)  # the batches that it is traced for
    assert not np.array_equal(nested.get_layer("hidden").kernel, before), "the others learn"


def test_pruned_weights_stay_at_zero_under_wrapped_optimizers():
    with_optimizer(keras.optimizers.LossScaleOptimizer(keras.optimizers.Ftrl(0.01)))
    with_optimizer(keras.optimizers.Ftrl(0.01, use_ema=True, ema_overwrite_frequency=2))
    if hasattr(keras.optimizers, "MultiOptimizer"):
        chosen = keras.optimizers.OptimizerMap(
            keras.optimizers.Adam(0.01), {".*kernel": keras.optimizers.Ftrl(0.01)}
        )
        with_optimizer(keras.optimizers.MultiOptimizer(chosen))


def test_compiling_again_knows_what_the_optimizer_starts_with():
    nested = dense_net()
    nested.compile(keras.optimizers.Ftrl(0.01), "mse")
    slots = nested._objectives.slots
    assert set(slots.values()) == {np.float32(0.1)}
    nested.train_on_batch(nets.images(4, (12,)), nets.images(4, (3,)))
    nested.compile(nested.optimizer, "mse")
    assert nested._objectives.slots == slots
    nested.compile("adam", "mse")
    assert nested._objectives.slots == {}
