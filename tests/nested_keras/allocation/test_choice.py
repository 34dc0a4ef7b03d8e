import itertools
import math

import keras
import numpy as np
import pytest

from nested_keras import allocation
from nested_keras.allocation import Sensitivity, budget
from nested_keras.allocation.budget import stored_bytes
from nested_keras.nesting import layers, masks, model
from tests.nested_keras import nets

pytestmark = pytest.mark.slow

SPARSITIES = (0.9, 0.8, 0.5)


@pytest.fixture(scope="module")
def nested():
    return model.nest(nets.randomise(nets.residual(), seed=0), SPARSITIES)


def sizes(nested):
    return {layer.name: math.prod(layer.kernel.shape) for layer in nested.nested_layers}


def overall(nested, chosen):
    """The sparsity of each level over all kernels."""
    size = sizes(nested)
    weighted = [np.multiply(chosen[name], size[name]) for name in size]
    return np.sum(weighted, axis=0) / sum(size.values())


def assert_nested(chosen):
    for values in chosen.values():
        assert masks.check_sparsities(values, strict=False) == tuple(values)


@pytest.mark.parametrize("rule", [allocation.erdos_renyi, allocation.global_magnitude])
def test_rules_keep_the_overall_sparsity(nested, rule):
    chosen = rule(nested, SPARSITIES)
    np.testing.assert_allclose(overall(nested, chosen), SPARSITIES, atol=2e-3)
    assert_nested(chosen)
    assert len(set(chosen.values())) > 1
    with pytest.raises(ValueError, match=r"must have 3 entries, one per level: got \(0.9, 0.8\)"):
        rule(nested, (0.9, 0.8))


def test_erdos_renyi_follows_the_shapes(nested):
    chosen = allocation.erdos_renyi(nested, (0.9, 0.5, 0.0))
    shapes = {layer.name: tuple(layer.kernel.shape) for layer in nested.nested_layers}
    raw = {name: sum(shape) / math.prod(shape) for name, shape in shapes.items()}
    for level in range(3):
        density = {name: 1 - values[level] for name, values in chosen.items()}
        free = [density[name] / raw[name] for name in raw if density[name] < 1 - 1e-9]
        if free:
            np.testing.assert_allclose(free, free[0], rtol=1e-6)
            full = [name for name in raw if density[name] >= 1 - 1e-9]
            assert all(raw[name] * free[0] >= 1 - 1e-6 for name in full)
        else:
            assert level == 2


def test_global_magnitude_is_one_threshold(nested):
    chosen = allocation.global_magnitude(nested, SPARSITIES)
    for level in range(3):
        kept, pruned = [], []
        for layer in nested.nested_layers:
            magnitude = np.sort(np.abs(layer.kernel.numpy()).ravel())
            count = round(chosen[layer.name][level] * magnitude.size)
            pruned.append(magnitude[:count].max(initial=0.0))
            kept.append(magnitude[count:].min(initial=np.inf))
        assert max(pruned) <= min(kept)


def test_sensitivity_measures_one_layer_at_a_time(nested):
    x, y = nets.images(16), np.random.default_rng(1).integers(0, 3, 16)
    before = [v.numpy() for v in nested.variables]
    nested.prune(0.5)
    after = [v.numpy() for v in nested.variables]
    calls = []
    loss = "sparse_categorical_crossentropy"
    found = allocation.measure_sensitivity(
        nested, x, y, loss=loss, sparsities=(0.5, 1.0), progress=lambda *call: calls.append(call)
    )
    layer_count = len(nested.nested_layers)
    assert calls == [(number, layer_count) for number in range(layer_count)]
    for variable, value in zip(nested.variables, after, strict=True):
        np.testing.assert_array_equal(variable, value)
    name = nested.nested_layers[1].name
    assert set(found.increases) == set(sizes(nested))
    assert all(0.0 <= low <= high for low, high in found.increases.values())

    def loss_of(scale):
        twin = keras.models.clone_model(nested)
        for variable, value in zip(twin.variables, before, strict=True):
            variable.assign(value)
        for mine, theirs in zip(twin.nested_layers, nested.nested_layers, strict=True):
            mine.kernel.assign(theirs.kernel.numpy() * (scale if mine.name == name else 1.0))
        for norm in twin.layers:
            if isinstance(norm, layers.NestedBatchNormalization):
                norm.statistics_sink = lambda *_: None
        p = twin.at_level(2)(x).numpy()[np.arange(16), y]
        return -np.log(p).mean()

    expected = max(loss_of(0.0) - loss_of(1.0), found.increases[name][0])
    assert found.increases[name][1] == pytest.approx(expected, rel=1e-3, abs=1e-5)
    for variable, value in zip(nested.variables, before, strict=True):
        variable.assign(value)


def curves(nested, seed, grid):
    rng = np.random.default_rng(seed)
    return Sensitivity(
        grid,
        {name: tuple(np.cumsum(rng.uniform(0, 1, len(grid)))) for name in sizes(nested)},
    )


def test_fitted_curves_touch_the_measured_ones_from_above():
    grid = (0.5, 0.8, 0.9, 0.985, 1.0)
    measured = {"levels off": (0.1, 0.5, 0.9, 1.0, 1.1), "noisy": (0.3, 0.3, 0.3, 0.3, 0.3)}
    fitted = Sensitivity(grid, measured).fitted()
    assert fitted.sparsities == (*np.arange(1, 99) / 100, 0.985)
    for name, k in (("levels off", 0.5 / 4), ("noisy", 0.3)):
        curve = np.asarray(fitted.increases[name])
        density = 1 - np.asarray(fitted.sparsities)
        np.testing.assert_allclose(curve, k * (1 / density - 1), rtol=1e-9)
        at = np.interp(grid[:4], fitted.sparsities, curve)
        assert (at >= np.asarray(measured[name][:4]) - 1e-12).all()
    with pytest.raises(ValueError, match=r"must have one below 1: got \(1.0,\)"):
        Sensitivity((1.0,), {"layer": (1.0,)}).fitted()


def test_allocation_meets_every_budget(nested):
    found = curves(nested, 0, (0.5, 0.8, 0.95))
    rows = budget.kernel_shapes(nested)
    dense = [sum(stored_bytes(row, (0.0,) * n) for row in rows) for n in (1, 2, 3)]
    budgets = np.multiply(dense, (0.55, 0.7, 0.9))
    chosen = allocation.allocate(nested, found, budgets, cost=stored_bytes)
    assert_nested(chosen)
    twin = keras.models.clone_model(nested)
    twin.set_sparsities(chosen)
    assert budget.total(twin, stored_bytes) == pytest.approx(budgets, rel=1e-6)
    twin.prune()
    for layer in twin.nested_layers:
        for level in range(3):
            size = layer.level_map.numpy().size
            assert layer.mask(level).sum() == round((1 - chosen[layer.name][level]) * size)


@pytest.mark.parametrize("seed", range(4))
def test_allocation_is_no_worse_than_any_choice_of_measured_points(nested, seed):
    grid = (0.5, 0.8, 0.95)
    found = curves(nested, seed, grid)
    rows = [row for row in budget.kernel_shapes(nested) if row.nested]
    rest = [row for row in budget.kernel_shapes(nested) if not row.nested]
    fixed = sum(stored_bytes(row, (0.0,)) for row in rest)
    limit = fixed + 0.4 * sum(stored_bytes(row, (0.0,)) for row in rows)
    chosen = allocation.allocate(nested, found, (limit, 9e9, 9.1e9), cost=stored_bytes)
    loss = 0.0
    for row in rows:
        points = [0.0, *grid], [0.0, *found.increases[row.name]]
        # Between hull points the loss is at most that on the hull; take the measured line above.
        hull = min(
            np.interp(
                chosen[row.name][0], [points[0][a], points[0][b]], [points[1][a], points[1][b]]
            )
            for a, b in itertools.combinations(range(4), 2)
            if points[0][a] <= chosen[row.name][0] <= points[0][b]
        )
        loss += hull
    best = min(
        sum(([0.0, *found.increases[row.name]])[i] for row, i in zip(rows, choice, strict=True))
        for choice in itertools.product(range(4), repeat=len(rows))
        if fixed
        + sum(stored_bytes(row, ([0.0, *grid][i],)) for row, i in zip(rows, choice, strict=True))
        <= limit
    )
    assert loss <= best + 1e-9
    assert all(values[1:] == (0.0, 0.0) for values in chosen.values())


def test_a_cost_that_rises_at_first_is_stepped_over(nested):
    """A sparse kernel may be slower than the dense one until much is pruned."""

    def cost(kernel, sparsities):
        return kernel.macs * (1.0 if sparsities[-1] == 0.0 else 3.0 * (1.0 - sparsities[-1]))

    found = curves(nested, 1, (0.5, 0.8, 0.95))
    dense = sum(cost(row, (0.0,)) for row in budget.kernel_shapes(nested))
    budgets = (0.5 * dense, 0.7 * dense, 0.9 * dense)
    chosen = allocation.allocate(nested, found, budgets, cost=cost)
    assert_nested(chosen)
    twin = keras.models.clone_model(nested)
    twin.set_sparsities(chosen)
    for got, limit in zip(budget.total(twin, cost), budgets, strict=True):
        assert got <= limit * (1 + 1e-9)


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ((1e4, 2e4), r"one for each of 3 levels: got \(10000.0, 20000.0\)"),
        ((3e4, 2e4, 4e4), r"budgets must increase strictly, .*: got \(30000.0, 20000.0, 40000.0\)"),
        ((1.0, 2e9, 3e9), r"budgets must be at least .*, the cost at the largest .*: got 1"),
    ],
)
def test_wrong_budgets_are_refused(nested, budgets, message):
    with pytest.raises(ValueError, match=message):
        allocation.allocate(nested, curves(nested, 0, (0.5,)), budgets, cost=stored_bytes)


def test_wrong_grids_are_refused(nested):
    for grid in ((), (0.5, 0.5), (0.9, 0.5), (0.0, 0.5), (0.5, 1.5)):
        with pytest.raises(ValueError, match=r"must increase strictly within \(0, 1\]: got"):
            allocation.measure_sensitivity(nested, None, None, loss="mse", sparsities=grid)


def test_data_without_examples_or_with_a_loss_of_nan_are_refused(nested):
    x = np.zeros((4, *nested.input_shape[1:]), np.float32)
    y = np.zeros((4, *nested.output_shape[1:]), np.float32)
    with pytest.raises(ValueError, match="x must have one example or more: got none"):
        allocation.measure_sensitivity(nested, x[:0], y[:0], loss="mse", sparsities=(0.5,))
    x[2] = np.nan
    with pytest.raises(ValueError, match="must have a finite loss on x and y: got nan"):
        allocation.measure_sensitivity(nested, x, y, loss="mse", sparsities=(0.5,))


def test_sparsities_of_layers_can_be_equal_at_several_levels(nested):
    twin = keras.models.clone_model(nested)
    name = twin.nested_layers[0].name
    twin.set_sparsities({name: (0.5, 0.5, 0.0)})
    twin.prune()
    layer = twin.get_layer(name)
    np.testing.assert_array_equal(layer.mask(0), layer.mask(1))
    assert layer.mask(2).all()
    copy = keras.models.clone_model(twin)
    assert copy.get_layer(name).sparsities == (0.5, 0.5, 0.0)


@pytest.mark.parametrize(
    ("sparsities", "message"),
    [
        ({"no": (0.9, 0.8, 0.7)}, r"sparsities must name layers of .*: got \['no'\]"),
        ({"conv2d_1": (0.9, 0.8)}, r"'conv2d_1' must have 3 entries, .*: got \(0.9, 0.8\)"),
        ({"conv2d_1": (0.8, 0.9, 0.7)}, r"must not increase .*: got \(0.8, 0.9, 0.7\)"),
    ],
)
def test_wrong_sparsities_are_refused(sparsities, message):
    keras.utils.clear_session()
    nested = model.nest(nets.residual(), SPARSITIES)
    with pytest.raises(ValueError, match=message):
        nested.set_sparsities(sparsities)


def test_sensitivity_of_a_model_with_several_inputs():
    """Where one input goes nowhere but into a sum with zeros, the result is that of the other."""
    keras.utils.set_random_seed(0)
    image, more = keras.Input((4, 4, 2)), keras.Input((3,))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = keras.layers.Dense(3, name="head")(keras.layers.Flatten()(x))
    rng = np.random.default_rng(0)
    images, targets = rng.normal(size=(6, 4, 4, 2)), rng.normal(size=(6, 3))
    found = []
    for inputs, end, data in (
        (image, x, images),
        ([image, more], keras.layers.Add()([x, more]), [images, np.zeros((6, 3))]),
    ):
        nested = model.nest(keras.Model(inputs, end), (0.5, 0.2), exclude=())
        found.append(
            allocation.measure_sensitivity(nested, data, targets, loss="mse", batch_size=4)
        )
    for name, increases in found[0].increases.items():
        assert found[1].increases[name] == pytest.approx(increases, rel=1e-5)
    with pytest.raises(TypeError, match="x must be an array or several: got"):
        allocation.measure_sensitivity(nested, iter(()), targets, loss="mse")


def test_sensitivity_of_a_model_with_several_outputs():
    """With a loss of one output the other changes nothing."""
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 2))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    outputs = {
        name: keras.layers.Dense(3, name=name)(keras.layers.Flatten()(x)) for name in ("a", "b")
    }
    rng = np.random.default_rng(0)
    images, targets = rng.normal(size=(6, 4, 4, 2)), rng.normal(size=(6, 3))
    mse = keras.losses.mean_squared_error
    found = []
    for ends, y, loss in (
        (outputs["a"], targets, "mse"),
        (outputs, {"a": targets, "b": targets}, lambda y, p: mse(y["a"], p["a"])),
    ):
        nested = model.nest(keras.Model(image, ends), (0.5, 0.2), exclude=())
        grid = (0.25, 0.75)
        one = allocation.measure_sensitivity(nested, images, y, loss=loss, sparsities=grid)
        found.append(one.increases)
    single, both = found
    assert both["conv"] == pytest.approx(single["conv"], rel=1e-5)
    assert max(both["b"]) == 0.0
