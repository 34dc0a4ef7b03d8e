import keras
import numpy as np
import pytest

from nested_keras import callbacks, load_model
from nested_keras.nesting import model
from tests.nested_keras import nets

pytestmark = pytest.mark.slow

SPARSITIES = (0.75, 0.5)


def compiled(metrics=("accuracy",)):
    nested = model.nest(nets.dense_net(), SPARSITIES)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    nested.compile(keras.optimizers.Adam(0.02), loss, metrics=list(metrics))
    return nested


def train(nested, *calls, epochs=10, validated=True, **kwargs):
    x, y = nets.images(64, (12,)), np.random.default_rng(1).integers(0, 3, 64)
    if validated:
        kwargs["validation_data"] = (x, y)
    calls = [callbacks.NestedPruning(), *calls]
    return nested.fit(x, y, epochs=epochs, verbose=0, callbacks=calls, **kwargs).history


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ({"level": 0}, lambda logs: np.array(logs["val_level_0_accuracy"])),
        ({"metric": "loss"}, lambda h: -(np.add(h["val_level_0_loss"], h["val_level_1_loss"]) / 2)),
        ({"level": 1, "validation": False}, lambda logs: np.array(logs["level_1_accuracy"])),
    ],
)
def test_the_best_epoch_at_the_final_sparsities_is_saved(tmp_path, arguments, value):
    nested = compiled()
    save = callbacks.LevelCheckpoint(tmp_path / "{epoch}.keras", **arguments)
    history = train(nested, save)
    values = value(history)
    best = 6 + int(np.argmax(values[6:]))  # the ramp ends with the sixth epoch
    best = min(best, 5 + int(np.argmax(values[5:])))
    found = sorted(tmp_path.glob("*.keras"), key=lambda path: int(path.stem))
    assert int(found[0].stem) >= 6, "no epoch of the ramp"
    assert int(found[-1].stem) == best + 1
    saved = load_model(found[-1])
    assert saved.shortfall() == ""
    assert saved.sparsities == SPARSITIES


def test_levels_and_metrics_that_do_not_exist_are_refused(tmp_path):
    path = tmp_path / "best.keras"
    with pytest.raises(ValueError, match=r"level must be in 0..1: got 2"):
        train(compiled(), callbacks.LevelCheckpoint(path, level=2))
    with pytest.raises(ValueError, match=r"must find \['val_level_0_recall'\] in the logs: got"):
        train(compiled(), callbacks.LevelCheckpoint(path, level=0, metric="recall", mode="max"))
    with pytest.raises(TypeError, match=r"by metric and level.*: got \['monitor'\]"):
        callbacks.LevelCheckpoint(path, monitor="val_loss")
    with pytest.warns(UserWarning, match="saved nothing: no epoch .* had 'val_mean_accuracy'"):
        train(compiled(), callbacks.LevelCheckpoint(path), validated=False)
    assert not path.exists()


def test_epochs_without_validation_do_not_compete(tmp_path):
    save = callbacks.LevelCheckpoint(tmp_path / "{epoch}.keras")
    train(compiled(), save, validation_freq=4)
    assert {path.stem for path in tmp_path.glob("*.keras")} == {"8"}


def test_a_metric_of_several_values_is_refused_in_the_first_epoch(tmp_path):
    nested = compiled()
    nested.compile("adam", "categorical_crossentropy", metrics=[keras.metrics.F1Score(name="f1")])
    x, y = nets.images(8, (12,)), np.eye(3)[np.arange(8) % 3]
    save = callbacks.LevelCheckpoint(tmp_path / "a.keras", metric="f1", mode="max")
    with pytest.raises(ValueError, match=r"one number: got 'val_level_0_f1' of shape \(3,\)"):
        nested.fit(x, y, validation_data=(x, y), verbose=0, callbacks=[save])
