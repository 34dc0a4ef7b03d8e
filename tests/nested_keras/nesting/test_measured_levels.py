import keras
import numpy as np
import pytest

from nested_keras.nesting import model
from tests.nested_keras import nets

pytestmark = pytest.mark.slow

X, Y = nets.images(20, (12,)), np.random.default_rng(1).integers(0, 3, 20)


@pytest.fixture(scope="module")
def nested():
    net = model.nest(nets.dense_net(kernel_regularizer="l2"), (0.75, 0.5, 0.25))
    net.prune()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile("sgd", loss, metrics=["accuracy"])
    return net


@pytest.mark.parametrize("level", [0, 1, np.int64(2)])
def test_predict_runs_the_level(nested, level):
    found = nested.predict(X, 7, verbose=0, level=level)
    np.testing.assert_allclose(found, nested.at_level(level)(X), rtol=1e-5, atol=1e-6)


def test_predict_without_a_level_runs_the_densest(nested):
    np.testing.assert_array_equal(
        nested.predict(X, verbose=0), nested.predict(X, verbose=0, level=2)
    )
    assert not np.array_equal(nested.predict(X, verbose=0), nested.predict(X, verbose=0, level=0))


def numbers(values):
    """Returns a list of results as numbers: Keras 3.12 gives tensors."""
    return [float(value) for value in values]


def plain_net():
    net = model.nest(nets.dense_net(kernel_regularizer="l2"), (0.75, 0.5, 0.25))
    net.prune()
    net.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mse"])
    return net


def test_evaluate_measures_the_level_alone(capsys):
    net = plain_net()
    y = nets.images(20, (3,), seed=2)
    weight = np.linspace(0.5, 2.0, 20).astype("float32")
    alone = [net.evaluate(X, y, 8, 0, weight, return_dict=True, level=level) for level in range(3)]
    together = net.evaluate(X, y, 8, 0, weight, return_dict=True)
    assert "level_0_loss" in together
    for level, found in enumerate(alone):
        assert sorted(found) == ["loss", "mae", "mse"]
        for name, value in found.items():
            assert value == pytest.approx(together[f"level_{level}_{name}"], rel=1e-6)
    capsys.readouterr()
    values = net.evaluate(X, y, verbose=2, sample_weight=weight, level=1, batch_size=8)
    assert numbers(values) == pytest.approx([alone[1][name] for name in ("loss", "mae", "mse")])
    assert "level_" not in capsys.readouterr().out


def test_evaluate_of_a_level_leaves_training_as_it_is():
    net, other = plain_net(), plain_net()
    y = nets.images(20, (3,), seed=2)
    at_level_0 = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: net.evaluate(X, y, verbose=0, level=0)
    )
    one = net.fit(
        X, y, epochs=2, verbose=0, shuffle=False, validation_data=(X, y), callbacks=[at_level_0]
    )
    two = other.fit(X, y, epochs=2, verbose=0, shuffle=False, validation_data=(X, y))
    assert list(one.history) == list(two.history)
    for name, values in one.history.items():
        assert values == pytest.approx(two.history[name], rel=1e-5)
    failing = keras.callbacks.LambdaCallback(on_test_begin=lambda logs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        net.evaluate(X, y, verbose=0, level=0, callbacks=[failing])
    assert "level_2_mae" in net.evaluate(X, y, verbose=0, return_dict=True)


@pytest.mark.parametrize(
    ("level", "error", "message"),
    [
        (3, ValueError, r"^level must be in 0\.\.2: got 3$"),
        (-1, ValueError, r"^level must be in 0\.\.2: got -1$"),
        ("dense", TypeError, r"^level must be an integer in 0\.\.2: got 'dense'$"),
        (0.5, TypeError, r"^level must be an integer in 0\.\.2: got 0\.5$"),
    ],
)
def test_bad_levels_get_one_line(nested, level, error, message):
    with pytest.raises(error, match=message):
        nested.predict(X, level=level)
    with pytest.raises(error, match=message):
        nested.evaluate(X, Y, level=level)


def test_lists_of_a_batch_are_in_the_order_of_evaluate():
    net = plain_net()
    y = nets.images(20, (3,), seed=2)
    net.evaluate(X, y, verbose=0)
    named = net.test_on_batch(X, y, return_dict=True)
    found = numbers(net.test_on_batch(X, y))
    assert found == pytest.approx(numbers(net.evaluate(X, y, 20, 0)))
    assert found[0] == float(named["loss"])
    assert len(net.train_on_batch(X, y)) == len(named) == 3 + 3 * 3


def test_evaluate_of_a_level_follows_what_runs_the_levels():
    net = plain_net()
    y = nets.images(20, (3,), seed=2)
    before = numbers(net.evaluate(X, y, verbose=0, level=0))
    assert numbers(net.evaluate(X, y, verbose=0, level=0)) == pytest.approx(before)
    net.run_levels(lambda level: net.float_level(2))
    assert float(net.evaluate(X, y, verbose=0, level=0)[0]) != pytest.approx(before[0], rel=1e-3)
    net.run_levels(net.float_level)
    net.compile("sgd", "mae")
    assert float(net.evaluate(X, y, verbose=0, level=0)) == pytest.approx(before[1], rel=1e-6)


def test_evaluate_of_a_level_needs_compile():
    net = model.nest(nets.dense_net(), (0.75, 0.5))
    with pytest.raises(ValueError, match=r"must call `compile\(\)`"):
        net.evaluate(X, Y, level=0)
