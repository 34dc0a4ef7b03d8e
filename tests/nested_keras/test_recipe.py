"""The parts of the recipe, and a training with all of them."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from nested_keras import callbacks, nest, recipe, runs
from tests.nested_keras import nets

pytestmark = pytest.mark.slow

SPARSITIES = (0.75, 0.5, 0.25)


def names(found):
    return [type(callback).__name__ for callback in found]


def data(count=16):
    return nets.images(count, (12,)), np.random.default_rng(1).integers(0, 3, count)


def test_the_rate_rises_over_a_twentieth_of_the_steps_and_falls_to_zero():
    rate = recipe.learning_rate_schedule(0.1, steps=100)
    rates = [float(rate(step)) for step in range(101)]
    assert rates[0] == 0.0
    assert int(np.argmax(rates)) == 5
    assert rates[5] == pytest.approx(0.1)
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[100] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 19])
def test_a_short_training_has_one_step_of_warm_up(steps):
    config = recipe.learning_rate_schedule(0.1, steps=steps).get_config()
    assert (config["warmup_steps"], config["decay_steps"]) == (1, max(1, steps - 1))


@pytest.mark.parametrize(("split_batch", "factor"), [(False, 1.0), (True, 3**0.5)])
def test_the_rate_follows_the_batch_that_is_split(split_batch, factor):
    model = nest(nets.dense_net(), SPARSITIES)
    found = recipe.optimizer(model, steps=40, learning_rate=0.01, split_batch=split_batch)
    rate = found.get_config()["learning_rate"]["config"]
    assert rate["warmup_target"] == pytest.approx(0.01 * factor)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"shares": 0}, {"learning_rate": 0.0}])
def test_a_rate_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="steps and shares must be at least 1, and learning_rate"):
        recipe.learning_rate_schedule(**{"learning_rate": 0.1, "steps": 1, **wrong})


def test_the_schedule_is_the_ramp_that_a_fit_of_so_many_steps_has():
    kept = []
    for masks in (None, recipe.schedule(20), recipe.schedule(20, end=0.3)):
        model = nest(nets.dense_net(), SPARSITIES)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.0), loss)
        seen = []
        note = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs, m=model, s=seen: s.append(m.level_sparsity(0))
        )
        x, y = data()
        found = [*recipe.callbacks(x, masks=masks), note]
        model.fit(x, y, batch_size=4, epochs=5, verbose=0, callbacks=found)
        kept.append(seen)
    assert kept[0] == kept[1]
    assert kept[0] != kept[2]
    assert kept[0][-1] == kept[2][-1] == pytest.approx(0.75, abs=0.01)


def test_a_schedule_out_of_range_is_refused():
    with pytest.raises(ValueError, match="steps must be at least 1: got 0"):
        recipe.schedule(0)
    with pytest.raises(ValueError, match="begin and end must be shares of the steps"):
        recipe.schedule(10, end=1.5)


def test_the_callbacks_in_their_order(tmp_path):
    x, _ = data()
    assert names(recipe.callbacks(x)) == ["NestedPruning", "BatchNormReestimation"]
    found = recipe.callbacks(x, folder=tmp_path, test=data())
    assert names(found) == [
        *("BackupAndRestore", "NestedPruning", "BatchNormReestimation", "RunDirectory"),
    ]
    own = callbacks.NestedPruning(end=0.5)
    assert recipe.callbacks(x, masks=own)[0] is own
    with pytest.raises(ValueError, match="test must go with a folder"):
        recipe.callbacks(x, test=data())


def test_a_training_by_the_recipe(tmp_path):
    model = nest(nets.dense_net(), SPARSITIES)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        recipe.optimizer(model, steps=10, split_batch=True),
        loss,
        metrics=["accuracy"],
        split_batch=True,
    )
    x, y = data(24)
    batches = runs.EpochShuffled(model, x, y, batch_size=12)
    found = recipe.callbacks(x, folder=tmp_path / "run", test=(x, y))
    model.fit(batches, epochs=5, shuffle=False, verbose=0, callbacks=found)
    rows = json.loads((tmp_path / "run" / "final.json").read_text())
    assert [row["sparsity"] for row in rows] == pytest.approx(SPARSITIES, abs=0.01)


def test_the_default_ramp_needs_no_tfmot():
    code = """if True:
        import sys
        sys.modules.update({"tensorflow_model_optimization": None, "tf_keras": None})
        import keras, numpy as np
        import nested_keras
        from nested_keras import recipe
        inputs = keras.Input((4,))
        hidden = keras.layers.Dense(8, "relu")(keras.layers.Dense(8, "relu")(inputs))
        net = nested_keras.nest(keras.Model(inputs, keras.layers.Dense(2)(hidden)), (0.9, 0.5))
        net.compile(recipe.optimizer(net, steps=10), "mse")
        x, y = np.ones((40, 4), "float32"), np.ones((40, 2), "float32")
        net.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=recipe.callbacks(x))
        assert net.shortfall() == ""
        assert not {"tensorflow_model_optimization", "tf_keras"} & {
            name.split(".")[0] for name, module in sys.modules.items() if module is not None
        }
    """
    subprocess.run([sys.executable, "-c", code], check=True)
