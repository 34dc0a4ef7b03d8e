"""Lines of progress that fit a terminal."""

import keras
import numpy as np
import pytest

from nested_keras import nest
from nested_keras.callbacks import LevelProgress, NestedPruning


def small_model(levels):
    base = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(4, 3),
            keras.layers.Conv2D(4, 2),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    return nest(base, np.linspace(0.9, 0.2, levels).tolist())


@pytest.mark.slow
@pytest.mark.parametrize("levels", [1, 3, 12])
def test_lines_are_short_and_name_all_levels(levels, capsys):
    model, lines, steps = small_model(levels), [], []
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = np.random.default_rng(0).random((20, 4, 4, 1), np.float32), np.arange(20) % 3
    progress = LevelProgress(say=lines.append, status=steps.append)
    callbacks = [NestedPruning(frequency=1), progress]
    history = model.fit(
        x, y, epochs=2, batch_size=5, validation_data=(x, y), verbose=0, callbacks=callbacks
    )
    assert capsys.readouterr().out == ""
    assert max(map(len, lines)) <= 79
    text = " ".join(" ".join(lines).split())
    assert text.startswith("epoch 1/2 ")
    assert text.count("epoch") == 2
    values = [history.history[f"val_level_{level}_accuracy"][-1] for level in range(levels)]
    assert "val accuracy " + " ".join(f"{100 * v:.1f}" for v in values) + "%" in text
    zeros = [history.history[f"level_{level}_sparsity"][-1] for level in range(levels)]
    assert "zeros " + " ".join(f"{100 * v:.0f}" for v in zeros) + "%" in text
    assert "epoch 1/2, step 4/4" in steps
    assert "epoch 2/2, validation" in steps
    if levels == 3:
        assert len(lines) == 2


def test_of_a_metric_with_a_value_per_class_the_mean_is_shown():
    model, lines = small_model(2), []
    model.prune()
    model.compile("adam", "categorical_crossentropy", metrics=[keras.metrics.F1Score(name="f1")])
    x, y = np.random.default_rng(0).random((20, 4, 4, 1), np.float32), np.eye(3)[np.arange(20) % 3]
    logs = model.fit(x, y, verbose=0, callbacks=[LevelProgress(say=lines.append)]).history
    values = [np.mean(logs[f"level_{level}_f1"][0]) for level in (0, 1)]
    assert f"  f1 {values[0]:.3f} {values[1]:.3f}" in lines[0]


def test_only_nested_models_have_levels():
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(TypeError, match="must be a NestedModel"):
        LevelProgress().set_model(plain)
