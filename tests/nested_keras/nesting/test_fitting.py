import keras
import numpy as np
import pytest

from nested_keras import callbacks, load_model
from nested_keras.nesting import model
from tests.nested_keras import nets

pytestmark = pytest.mark.slow

SPARSITIES = (0.75, 0.5)
HINTS = {
    "forgotten": r"give callbacks.NestedPruning\(\) to fit",
    "too long": "the fit ended before the ramp of NestedPruning",
    "restored": "a callback restored weights from before the end of the ramp",
}


def compiled(optimizer="adam"):
    nested = model.nest(nets.dense_net(), SPARSITIES)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    nested.compile(optimizer, loss, metrics=["accuracy"])
    return nested


def ever_worse(epochs=10, **kwargs):
    """Arguments of a fit whose validation is best in the first epoch."""
    x, y = nets.images(64, (12,)), np.random.default_rng(1).integers(0, 3, 64)
    return {
        **{"x": x, "y": y, "validation_data": (x, (y + 1) % 3), "epochs": epochs, "verbose": 0},
        **kwargs,
    }


def fast():
    return keras.optimizers.Adam(0.05)


class Rollback(keras.callbacks.Callback):
    """Keeps the first epoch's weights, whatever anyone says."""

    def on_epoch_end(self, epoch, logs=None):
        self.weights = self.model.get_weights() if epoch == 0 else self.weights

    def on_train_end(self, logs=None):
        self.model.set_weights(self.weights)


def never(step):
    return False, 0.0


@pytest.mark.parametrize("cause", HINTS)
def test_a_fit_warns_of_levels_that_are_not_at_their_sparsities(cause):
    calls = {
        "forgotten": [],
        "too long": [callbacks.NestedPruning(never, final_sparsity=0.5)],
        "restored": [callbacks.NestedPruning(), Rollback()],
    }[cause]
    has = r"level 0: asked 0.75, has 0\.[0-9]{2}, level 1: asked 0.50, has 0\.[0-9]{2}"
    with pytest.warns(
        UserWarning, match=rf"not at their sparsities \({has}\): {HINTS[cause]}"
    ) as w:
        compiled().fit(**ever_worse(), callbacks=calls)
    assert len(w) == 1
    assert w[0].filename == __file__, "it points to the call of fit"


def test_a_fit_at_its_sparsities_does_not_warn():
    nested = compiled()
    nested.fit(**ever_worse(), callbacks=[callbacks.NestedPruning()])
    nested.fit(**ever_worse())


def test_the_history_has_the_sparsity_at_the_end_of_each_epoch(capsys):
    nested = compiled()
    history = nested.fit(
        **ever_worse(epochs=5, verbose=2), callbacks=[callbacks.NestedPruning(frequency=1)]
    ).history
    for level in range(2):
        values = history[f"level_{level}_sparsity"]
        assert len(values) == 5
        assert values == sorted(values)
        assert 0 < values[0] < values[-1] == nested.level_sparsity(level)
    assert "level_0_sparsity: 0.75" in capsys.readouterr().out


def test_early_stopping_counts_from_the_end_of_the_ramp():
    nested = compiled(fast())
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True)
    history = nested.fit(**ever_worse(epochs=20), callbacks=[stop, callbacks.NestedPruning()])
    assert 11 <= stop.best_epoch + 1 < len(history.epoch) < 20, "24 of 40 steps are the ramp's"
    assert nested.shortfall() == ""
    assert "on_epoch_end" not in vars(stop), "the callback is as it was"


def test_early_stopping_without_a_ramp_is_that_of_keras():
    nested = compiled(fast())
    nested.prune()
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, min_delta=100)
    history = nested.fit(**ever_worse(epochs=20), callbacks=[stop])
    assert len(history.epoch) == 2


@pytest.mark.parametrize("frequency", ["epoch", 1])
def test_the_best_checkpoint_is_at_the_final_sparsities(tmp_path, frequency):
    nested = compiled(fast())
    save = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras",
        monitor="val_loss" if frequency == "epoch" else "loss",
        save_best_only=True,
        save_freq=frequency,
    )
    nested.fit(**ever_worse(), callbacks=[save, callbacks.NestedPruning()])
    assert load_model(tmp_path / "best.keras").shortfall() == ""
    assert set(vars(save)).isdisjoint({"on_epoch_end", "on_train_batch_end"})


def test_a_checkpoint_of_every_epoch_is_saved_in_the_ramp_too(tmp_path):
    save = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}_{val_accuracy:.2f}.keras")
    compiled().fit(**ever_worse(epochs=3), callbacks=[save, callbacks.NestedPruning()])
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["1", "2", "3"]


def test_a_checkpoint_without_an_epoch_to_choose_from_is_named(tmp_path):
    save = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True)
    short = callbacks.NestedPruning(never, final_sparsity=0.5)
    with pytest.warns(UserWarning, match="ModelCheckpoint had no epoch to choose from"):
        compiled().fit(**ever_worse(), callbacks=[save, short])
    assert not list(tmp_path.iterdir())


def test_the_learning_rate_is_reduced_after_the_ramp_only():
    nested = compiled(fast())
    reduce = keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, factor=0.5)
    history = nested.fit(**ever_worse(epochs=20), callbacks=[reduce, callbacks.NestedPruning()])
    rates = history.history["learning_rate"]
    assert len(rates) == 20
    assert set(rates[:11]) == {np.float32(0.05)}, "24 of 40 steps are the ramp's"
    assert rates[-1] < 0.05


def test_a_callback_of_ones_own_that_monitors_is_not_told_of_the_ramp():
    class Best(keras.callbacks.Callback):
        monitor = "val_accuracy"
        epochs = ()

        def on_epoch_end(self, epoch, logs=None):
            self.epochs = (*self.epochs, epoch)
            assert {"val_accuracy", "level_0_sparsity"} <= set(logs)

    best = Best()
    compiled().fit(**ever_worse(), callbacks=[best, callbacks.NestedPruning()])
    assert best.epochs[0] >= 5
    assert best.epochs[-1] == 9


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [
        ("val_accuracy", "max"),
        ("val_level_0_accuracy", "max"),
        ("level_1_loss", "min"),
        ("val_level_0_mae", "min"),
    ],
)
def test_keras_knows_which_way_a_level_is_better(monitor, mode):
    y = np.eye(3)[np.random.default_rng(1).integers(0, 3, 64)]
    nested = compiled()
    nested.compile("adam", "mse", metrics=["accuracy", "mae"])
    nested.prune()
    stop = keras.callbacks.EarlyStopping(monitor, patience=50)
    data = ever_worse(epochs=2, y=y, validation_data=(nets.images(64, (12,)), y))
    nested.fit(**data, callbacks=[stop])
    assert stop.monitor_op is {"max": keras.ops.greater, "min": keras.ops.less}[mode]


def test_a_list_of_callbacks_of_keras_is_taken_as_it_is():
    nested = compiled()
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs))
    members = [callbacks.NestedPruning(), watch]
    given = keras.callbacks.CallbackList(
        members, add_history=True, model=nested, epochs=10, steps=2
    )
    before = list(given.callbacks)
    nested.fit(**ever_worse(), callbacks=given)
    assert seen[-1]["level_0_sparsity"] == 0.75
    assert given.callbacks == before


def test_evaluation_order_and_single_callbacks():
    nested = compiled()
    nested.fit(**ever_worse(), callbacks=callbacks.NestedPruning())
    x, y = ever_worse()["x"], ever_worse()["y"]
    loss, accuracy, *_ = nested.evaluate(x, y, verbose=0)
    logs = nested.evaluate(x, y, verbose=0, return_dict=True)
    assert (loss, accuracy) == pytest.approx((logs["loss"], logs["level_1_accuracy"]))
