import keras
import numpy as np
import pytest
import tensorflow as tf

import nested_keras
from nested_keras.callbacks import NestedPruning
from nested_keras.distillation import Distillation
from nested_keras.nesting import layers, model
from tests.nested_keras import nets

pytestmark = pytest.mark.slow

SPARSITIES = (0.75, 0.5, 0.25)


def data(count=24, features=12):
    x = nets.images(count, (features,))
    return x, np.random.default_rng(1).integers(0, 3, count)


def sparse_loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def pruned_net(optimizer="sgd", seed=0, base=None, **kwargs):
    nested = model.nest(base or nets.dense_net(seed=seed), SPARSITIES)
    nested.prune()
    kwargs = {"loss": sparse_loss(), "metrics": ["accuracy"], **kwargs}
    nested.compile(optimizer, **kwargs)
    return nested


def formula_gradients(nested, x, y, routing, weights):
    """The gradients by the formula of the surrogate weight, with one tape and no masks applied.

    At level l: w = a W M[l-1] + (1 - a) stop_gradient(W M[l-1]) + W (M[l] - M[l-1]).
    """
    hidden, head = nested.get_layer("hidden"), nested.get_layer("head")
    variables = [v.value for v in (hidden.kernel, hidden.bias, head.kernel, head.bias)]
    with tf.GradientTape() as tape:
        total = 0.0
        for level, (a, weight) in enumerate(zip(routing, weights, strict=True)):
            kernel, bias, head_kernel, head_bias = variables
            mask = hidden.mask(level).astype("float32")
            below = hidden.mask(level - 1).astype("float32") if level else 0 * mask
            old = kernel * below
            w = a * old + (1 - a) * tf.stop_gradient(old) + kernel * (mask - below)
            logits = tf.nn.relu(x @ w + bias) @ head_kernel + head_bias
            total += weight * sparse_loss()(y, logits)
    return [g.numpy() for g in tape.gradient(total, variables)]


@pytest.mark.parametrize(
    ("routing", "weights"),
    [(1.0, None), (0.0, None), (0.5, (1.0, 2.0, 0.5)), ((0.3, 0.25, 0.75), (0.0, 1.0, 1.0))],
)
def test_one_step_follows_the_formula(routing, weights):
    nested = pruned_net(keras.optimizers.SGD(1.0), routing=routing, level_loss_weights=weights)
    x, y = data()
    per_level = np.broadcast_to(routing, 3)
    expected = formula_gradients(nested, x, y, per_level, weights or (1, 1, 1))
    before = [v.numpy() for v in nested.trainable_variables]
    nested.train_on_batch(x, y)
    for old, new, gradient in zip(before, nested.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(old - new.numpy(), gradient, rtol=1e-4, atol=2e-6)


def test_strict_routing_moves_a_weight_by_its_first_level_only():
    nested = pruned_net(keras.optimizers.SGD(1.0), routing=0.0, level_loss_weights=(0.0, 1.0, 0.0))
    hidden = nested.get_layer("hidden")
    before = hidden.kernel.numpy()
    nested.train_on_batch(*data())
    moved = hidden.kernel.numpy() != before
    assert moved.any()
    assert not moved[hidden.level_map.numpy() != 1].any()


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.1, momentum=0.9),
        lambda: keras.optimizers.AdamW(0.1, weight_decay=0.1),
        lambda: keras.optimizers.RMSprop(0.1, momentum=0.9),
    ],
    ids=["momentum", "adamw", "rmsprop"],
)
def test_momentum_does_not_move_pruned_weights(optimizer):
    nested = model.nest(nets.dense_net(), SPARSITIES)
    nested.compile(optimizer(), sparse_loss())
    x, y = data()
    for _ in range(3):
        nested.train_on_batch(x, y)  # builds momentum up in all weights
    nested.prune()
    hidden = nested.get_layer("hidden")
    pruned = ~hidden.mask(2)
    for _ in range(3):
        nested.train_on_batch(x, y)
        assert not hidden.kernel.numpy()[pruned].any()
        assert hidden.kernel.numpy()[~pruned].all()


def activity_loss(activation):
    """What the installed Keras adds for an activation: 3.12 does not divide by the batch."""
    plain = keras.layers.ActivityRegularization(l1=0.01)
    plain(activation)
    return float(plain.losses[0])


def test_loss_is_the_weighted_sum_and_regularisation_counts_once():
    base = nets.dense_net(
        kernel_regularizer=keras.regularizers.L2(0.1),
        activity_regularizer=keras.regularizers.L1(0.01),
    )
    weights = (0.5, 1.0, 2.0)
    nested = pruned_net(base=base, level_loss_weights=weights)
    x, y = data()
    hidden = nested.get_layer("hidden")
    decay = 0.1 * np.square(hidden.kernel.numpy()).sum()
    expected = []
    for level in range(3):
        activation = np.maximum(
            x @ (hidden.kernel.numpy() * hidden.mask(level)) + hidden.bias.numpy(), 0
        )
        logits = nested.at_level(level)(x)
        expected.append(float(sparse_loss()(y, logits)) + activity_loss(activation))
    logs = nets.evaluate(nested, x, y, batch_size=24)
    for level in range(3):
        assert logs[f"level_{level}_loss"] == pytest.approx(expected[level], rel=1e-5)
    assert logs["loss"] == pytest.approx(np.dot(weights, expected) + decay, rel=1e-5)
    nested.reset_metrics()  # Keras 3.12 goes on with the metrics of evaluate
    trained = nested.train_on_batch(x, y, return_dict=True)
    assert float(trained["loss"]) == pytest.approx(logs["loss"], rel=1e-5)


def test_regularisation_gradient_is_not_routed():
    base = nets.dense_net(kernel_regularizer=keras.regularizers.L2(0.5))
    nested = pruned_net(
        keras.optimizers.SGD(0.1), base=base, routing=0.0, level_loss_weights=(0, 0, 0)
    )
    before = nested.get_layer("hidden").kernel.numpy()
    nested.train_on_batch(*data())
    np.testing.assert_allclose(nested.get_layer("hidden").kernel, before * 0.9, rtol=1e-5)


@pytest.mark.parametrize("source", ["numpy", "dataset", "generator"])
def test_history_has_every_level(source):
    nested = pruned_net()
    x, y = data()
    kwargs = {"x": x, "y": y, "batch_size": 8, "validation_data": (x, y)}
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    if source == "dataset":
        kwargs = {"x": batches, "shuffle": False, "validation_data": batches}
    if source == "generator":
        forever = ((bx, by) for _ in range(9) for bx, by in batches.as_numpy_iterator())
        kwargs = {"x": forever, "steps_per_epoch": 3, "shuffle": False, "validation_data": (x, y)}
    history = nested.fit(**kwargs, epochs=2, verbose=0).history
    names = [f"level_{level}_{name}" for level in range(3) for name in ("loss", "accuracy")]
    names += ["loss", "accuracy"]
    sparsities = [f"level_{level}_sparsity" for level in range(3)]
    assert set(history) == {*names, *(f"val_{n}" for n in names), *sparsities}
    assert history["val_accuracy"] == history["val_level_2_accuracy"]
    assert history["accuracy"] == history["level_2_accuracy"]
    assert all(len(values) == 2 for values in history.values())
    for level in range(3):
        logits = nested.at_level(level)(x).numpy()
        assert history[f"val_level_{level}_accuracy"][-1] == pytest.approx(
            (logits.argmax(-1) == y).mean()
        )
        assert history[f"val_level_{level}_loss"][-1] == pytest.approx(
            float(sparse_loss()(y, logits)), rel=1e-5
        )


def test_the_progress_bar_has_the_accuracy_of_every_level(capsys):
    x, y = data()
    pruned_net().fit(x, y, batch_size=8, verbose=1)
    last = capsys.readouterr().out.splitlines()[-1]
    assert "3/3" in last
    assert all(f"level_{level}_accuracy: 0." in last for level in range(3))


def test_a_step_leaves_nothing_to_the_host():
    """Masks, statistics, routing and metrics are operators of one graph."""
    nested = model.nest(nets.residual(), (0.5, 0.25))
    nested.compile(
        "adam",
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        routing=0.5,
        distillation=Distillation(in_place=True),
    )
    x, y = nets.images(4), np.zeros(4, "int32")
    traced = tf.function(nested.train_step).get_concrete_function((x, y))
    library = traced.graph.as_graph_def().library.function
    types = {op.type for op in traced.graph.get_operations()}
    types |= {node.op for function in library for node in function.node_def}
    assert "FusedBatchNormV3" in types
    assert not {name for name in types if "PyFunc" in name}


def test_training_improves_every_level_and_updates_its_statistics():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 192)
    x = (rng.normal(size=(192, 6, 6, 3)) + 2 * np.eye(3)[y][:, None, None, :]).astype("float32")
    keras.utils.set_random_seed(0)
    nested = model.nest(nets.residual(), (0.5, 0.25))
    nested.prune()
    nested.compile(
        keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    history = nested.fit(x, y, batch_size=32, epochs=8, verbose=0, shuffle=False).history
    for level in range(2):
        assert history[f"level_{level}_accuracy"][-1] > 0.9
        assert history[f"level_{level}_accuracy"][0] < 0.9
    norm = [x for x in nested.layers if isinstance(x, layers.NestedBatchNormalization)][-1]
    assert norm.moving_mean.numpy().any(axis=1).all()
    assert not np.array_equal(norm.moving_mean[0], norm.moving_mean[1])


def test_sample_weights_and_metric_objects_are_each_levels_own():
    metric = keras.metrics.SparseCategoricalAccuracy(name="hits")
    nested = pruned_net(metrics=[metric], weighted_metrics=["accuracy"])
    x, y = data()
    weight = np.linspace(0, 2, len(x)).astype("float32")
    logs = nets.evaluate(nested, x, y, sample_weight=weight)
    for level in range(3):
        logits = nested.at_level(level)(x).numpy()
        hit = logits.argmax(-1) == y
        assert logs[f"level_{level}_hits"] == pytest.approx(hit.mean())
        weighted = (hit * weight).sum() / weight.sum()
        assert logs[f"level_{level}_accuracy"] == pytest.approx(weighted, rel=1e-5)
        assert logs[f"level_{level}_loss"] == pytest.approx(
            float(sparse_loss()(y, logits, sample_weight=weight)), rel=1e-5
        )
    assert float(metric.result()) == 0.0, "the caller's own object is not used"


def test_several_outputs():
    nested = model.nest(nets.randomise(nets.branches(), seed=0), SPARSITIES)
    nested.prune()
    nested.compile(
        "adam",
        loss={"a": "mse", "b": "mae"},
        loss_weights={"a": 0.5, "b": 2.0},
        metrics={"a": ["mae"]},
    )
    x = {"left": nets.images(6), "right": nets.images(6, (5,), seed=1)}
    y = {"a": nets.images(6, (2,), seed=2), "b": nets.images(6, (1,), seed=3)}
    logs = nets.evaluate(nested, x, y)
    outputs = nested.at_level(0)(x)
    first = np.square(outputs["a"] - y["a"]).mean()
    second = np.abs(outputs["b"] - y["b"]).mean()
    assert logs["level_0_a_loss"] == pytest.approx(first, rel=1e-5)
    assert logs["level_0_b_loss"] == pytest.approx(second, rel=1e-5)
    assert logs["level_0_loss"] == pytest.approx(0.5 * first + 2 * second, rel=1e-5)
    assert logs["level_0_a_mae"] == pytest.approx(np.abs(outputs["a"] - y["a"]).mean(), rel=1e-5)
    nested.fit(x, y, verbose=0)


def test_a_model_without_trainable_variables_runs_and_gets_its_masks():
    base = nets.dense_net()
    base.trainable = False
    nested = model.nest(base, SPARSITIES)
    nested.compile("adam", sparse_loss(), metrics=["accuracy"])
    kernel = nested.get_layer("hidden").kernel.numpy()
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        logs = nested.fit(*data(), epochs=6, verbose=0, callbacks=[NestedPruning(frequency=1)])
    assert nested.shortfall() == ""
    assert len(logs.history["level_0_accuracy"]) == 6
    kept = nested.get_layer("hidden").mask(2)
    np.testing.assert_array_equal(nested.get_layer("hidden").kernel, np.where(kept, kernel, 0))


def test_a_model_without_any_loss_is_refused_as_in_keras():
    x, y = data()
    nested = pruned_net(loss=None)
    for run in (nested.fit, nested.evaluate):
        with pytest.raises(ValueError, match="No loss to compute"):
            run(x, y, verbose=0)
    with pytest.raises(ValueError, match="No loss to compute"):
        nested.evaluate(x, y, verbose=0, level=0)
    in_place = Distillation(in_place=True)
    for other in (
        pruned_net(loss=None, distillation=in_place),
        pruned_net(loss=None, base=nets.dense_net(kernel_regularizer="l2")),
        pruned_net(loss=None, base=nets.dense_net(activity_regularizer="l2")),
    ):
        other.fit(x, y, verbose=0)
        other.evaluate(x, y, verbose=0)


@pytest.fixture(params=["float64", "float16"])
def floatx(request):
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(request.param)
    keras.config.set_dtype_policy(request.param)  # Keras keeps the policy of the first model
    yield request.param
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"routing": 0.5, "level_loss_weights": (1, 2, 3), "split_batch": True},
        {"distillation": Distillation(in_place=True), "sandwich": True},
    ],
    ids=["plain", "routing", "distillation"],
)
@pytest.mark.parametrize("kind", ["kernel_regularizer", "activity_regularizer"])
def test_models_of_another_float_type_train_and_evaluate(floatx, settings, kind):
    base = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(4, 3, **{kind: "l2"}),
            keras.layers.BatchNormalization(),
            keras.layers.Conv2D(4, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    nested = pruned_net(base=base, **settings)
    x, y = nets.images(24, (6, 6, 2)), data()[1]
    history = nested.fit(x, y, verbose=0).history
    assert np.isfinite(history["level_0_loss"]).all()
    assert np.isfinite(nets.evaluate(nested, x, y)["loss"])
    assert np.isfinite(nets.evaluate(nested, x, y, level=1)["loss"])
    assert {v.dtype for v in nested.trainable_variables} == {floatx}


def test_level_loss_can_be_overridden():
    seen = []

    class Distilled(model.NestedModel):
        def level_loss(self, level, *, x, y, y_pred, sample_weight=None):
            seen.append(level)
            own = super().level_loss(level, x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
            return own + 1.0

    nested = model.nest(nets.dense_net(), SPARSITIES)
    distilled = Distilled(nested.inputs, nested.outputs)
    distilled.compile("sgd", sparse_loss())
    nested.compile("sgd", sparse_loss())
    x, y = data()
    plain = nets.evaluate(nested, x, y)
    logs = nets.evaluate(distilled, x, y)
    assert logs["level_1_loss"] == pytest.approx(plain["level_1_loss"] + 1, rel=1e-5)
    assert logs["loss"] == pytest.approx(plain["loss"] + 3, rel=1e-5)
    assert seen[:3] == [2, 1, 0], "the densest level first"


def test_evaluate_gives_a_list_as_keras_does():
    nested = pruned_net()
    x, y = data()
    logs = nets.evaluate(nested, x, y)
    values = [float(value) for value in nested.evaluate(x, y, verbose=0)]
    assert values[:2] == pytest.approx([logs["loss"], logs["accuracy"]])
    assert sorted(values) == pytest.approx(sorted(logs.values()))


def test_compile_settings_survive_saving(tmp_path):
    nested = pruned_net(
        keras.optimizers.Adam(0.01), routing=(1.0, 0.5, 0.25), level_loss_weights=(1, 2, 3)
    )
    x, y = data()
    nested.fit(x, y, verbose=0)
    nested.save(tmp_path / "model.keras")
    loaded = nested_keras.load_model(tmp_path / "model.keras")
    assert loaded.get_compile_config() == nested.get_compile_config()
    assert loaded.get_compile_config()["routing"] == [1.0, 0.5, 0.25]
    assert loaded.jit_compile is False
    assert int(loaded.optimizer.iterations) == int(nested.optimizer.iterations) == 1
    mine = nets.evaluate(nested, x, y)
    assert nets.evaluate(loaded, x, y) == mine
    for model_ in (nested, loaded):
        model_.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for ours, theirs in zip(nested.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_uncompiled_model_saves_and_refuses_to_train(tmp_path):
    nested = model.nest(nets.dense_net())
    nested.save(tmp_path / "model.keras")
    loaded = nested_keras.load_model(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="call `compile\\(\\)`"):
        loaded.fit(*data())


def test_recompiling_and_eager_steps_agree():
    x, y = data()
    results = []
    for kwargs in ({}, {"run_eagerly": True}, {"steps_per_execution": 3}):
        nested = pruned_net("sgd")
        nested.compile(keras.optimizers.SGD(0.1), sparse_loss(), routing=0.5, **kwargs)
        nested.fit(x, y, batch_size=4, shuffle=False, verbose=0)
        results.append(nested.get_layer("hidden").kernel.numpy())
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(results[2], results[0])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(policy):
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        base = nets.dense_net()
        nested = pruned_net("adam", base=base, routing=0.5)
    finally:
        keras.config.set_dtype_policy(previous)
    before = nested.get_layer("hidden").kernel.numpy()
    logs = nested.train_on_batch(*data(), return_dict=True)
    assert np.isfinite(float(logs["loss"]))
    hidden = nested.get_layer("hidden")
    assert hidden.kernel.dtype == "float32"
    assert not np.array_equal(hidden.kernel.numpy(), before)
    assert not hidden.kernel.numpy()[~hidden.mask(2)].any()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"routing": 1.5}, r"routing must lie in \[0, 1\]: got \(1.5, 1.5, 1.5\)"),
        ({"routing": (0, -0.5, 1)}, r"routing must lie in \[0, 1\]: got \(0.0, -0.5, 1.0\)"),
        ({"routing": (0.5, 0.5)}, r"routing must have 3 entries, .*: got \(0.5, 0.5\)"),
        ({"level_loss_weights": (1, 1)}, r"level_loss_weights must have 3 .*: got \(1.0, 1.0\)"),
        ({"level_loss_weights": (1, -1, 1)}, r"must not be negative: got \(1.0, -1.0, 1.0\)"),
    ],
)
def test_wrong_settings_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        pruned_net(**kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"level_loss_weights": {0: 1.0, 1: 2.0, 2: 3.0}}, r"level_loss_weights .* got \{0: 1.0,"),
        ({"level_loss_weights": (1, "2", 3)}, r"must be numbers: got \(1.0, '2', 3.0\)"),
        ({"routing": "strict"}, "routing must be one value, .*: got 'strict'"),
        ({"distillation": nets.dense_net()}, r"Distillation\(teacher=model\): got Sequential"),
    ],
    ids=["dict", "text in a tuple", "text", "teacher"],
)
def test_settings_of_another_type_are_refused(kwargs, message):
    with pytest.raises(TypeError, match=message):
        pruned_net(**kwargs)


def test_routing_follows_a_schedule_of_the_step():
    x, y = data()
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 2, 0.25)
    nested = pruned_net(keras.optimizers.SGD(1.0), routing=(0.0, schedule, 0.5))
    for coefficient in (1.0, 0.625, 0.25, 0.25):
        expected = formula_gradients(nested, x, y, (0.0, coefficient, 0.5), (1, 1, 1))
        before = [v.numpy() for v in nested.trainable_variables]
        nested.train_on_batch(x, y)
        for old, new, gradient in zip(before, nested.trainable_variables, expected, strict=True):
            np.testing.assert_allclose(old - new.numpy(), gradient, rtol=1e-3, atol=1e-5)


def test_scheduled_routing_survives_saving(tmp_path):
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 2, 0.25)
    nested = pruned_net(routing=(1.0, schedule, 0.5), sandwich=True, split_batch=True)
    nested.save(tmp_path / "model.keras")
    config = nested_keras.load_model(tmp_path / "model.keras").get_compile_config()
    assert config == nested.get_compile_config()
    assert config["routing"][1]["config"]["end_learning_rate"] == 0.25
    assert config["sandwich"] is True
    assert config["split_batch"] is True


def test_sandwich_trains_three_levels_of_five_and_every_one_in_time():
    nested = model.nest(nets.dense_net(), (0.9, 0.7, 0.5, 0.3, 0.1))
    nested.prune()
    nested.compile(keras.optimizers.SGD(1.0), sparse_loss(), metrics=["accuracy"], sandwich=True)
    x, y = data()
    trained = []
    for _ in range(12):
        expected = {}
        variables = [v.numpy() for v in nested.trainable_variables]
        for middle in (1, 2, 3):
            with tf.GradientTape() as tape:
                levels = (4, middle, 0)
                total = sum(sparse_loss()(y, nested.at_level(level)(x)) for level in levels)
            expected[middle] = tape.gradient(total, nested.trainable_variables)
        nested.reset_metrics()
        logs = nested.train_on_batch(x, y, return_dict=True)
        moved = [
            old - new.numpy()
            for old, new in zip(variables, nested.trainable_variables, strict=True)
        ]
        matches = [
            middle
            for middle, gradients in expected.items()
            if all(
                np.allclose(got, want, rtol=1e-3, atol=1e-5)
                for got, want in zip(moved, gradients, strict=True)
            )
        ]
        assert len(matches) == 1
        measured = {level for level in range(5) if float(logs[f"level_{level}_loss"]) > 0}
        assert measured == {0, matches[0], 4}
        trained += matches
    assert set(trained) == {1, 2, 3}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("count", [24, 25])
def test_split_batch_shows_each_level_samples_of_its_own(count, weighted):
    x, y = data(count)
    sample_weight = np.linspace(0.5, 2.0, count).astype("float32") if weighted else None
    teacher = nets.dense_net(seed=5)
    nested = pruned_net(
        keras.optimizers.SGD(1.0),
        metrics=None,
        weighted_metrics=["accuracy"],
        split_batch=True,
        distillation=Distillation(teacher=teacher, from_logits=True),
    )
    towards = nested._objectives.distillation.loss()
    losses = {}
    with tf.GradientTape() as tape:
        total = 0.0
        for first, level in enumerate((2, 1, 0)):
            weight = None if sample_weight is None else sample_weight[first::3]
            logits = nested.at_level(level)(x[first::3])
            losses[level] = sparse_loss()(y[first::3], logits, weight)
            taught = towards.softened([teacher(x[first::3])])
            total += 0.5 * losses[level] + 0.5 * towards(taught, logits, weight)
    expected = tape.gradient(total, nested.trainable_variables)
    before = [v.numpy() for v in nested.trainable_variables]
    logs = nested.train_on_batch(x, y, sample_weight, return_dict=True)
    for old, new, gradient in zip(before, nested.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(old - new.numpy(), gradient, rtol=1e-4, atol=2e-6)
    for level, loss in losses.items():
        assert logs[f"level_{level}_loss"] == pytest.approx(float(loss), rel=1e-5)


def test_split_batch_takes_several_inputs():
    a, b = keras.Input((12,), name="a"), keras.Input((12,), name="b")
    hidden = keras.layers.Dense(8, activation="relu")(keras.layers.Add()([a, b]))
    nested = model.nest(keras.Model([a, b], keras.layers.Dense(3)(hidden)), SPARSITIES)
    nested.prune()
    nested.compile("sgd", sparse_loss(), split_batch=True)
    x, y = data()
    nested.fit([x, x], y, batch_size=12, verbose=0)


def test_split_batch_refuses_a_batch_with_too_few_samples():
    nested = pruned_net(split_batch=True)
    x, y = data(14)
    with pytest.raises(tf.errors.InvalidArgumentError, match="a sample for each of 3 levels"):
        nested.fit(x, y, batch_size=12, verbose=0)


def test_split_batch_refuses_distillation_in_place():
    with pytest.raises(ValueError, match="without in-place distillation"):
        pruned_net(split_batch=True, distillation=Distillation(in_place=True))


@keras.saving.register_keras_serializable(package="tests")
class TowardsOne(keras.regularizers.Regularizer):
    def __call__(self, x):
        return 0.1 * tf.reduce_sum(tf.square(x - 1.0))

    def get_config(self):
        return {}


def test_a_regulariser_does_not_move_pruned_weights():
    nested = pruned_net(base=nets.dense_net(kernel_regularizer=TowardsOne()))
    nested.train_on_batch(*data())
    hidden = nested.get_layer("hidden")
    assert not hidden.kernel.numpy()[~hidden.mask(2)].any()
    assert hidden.kernel.numpy()[hidden.mask(2)].all()


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.Adam(0.1, amsgrad=True, use_ema=True),
        lambda: keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=4),
        lambda: keras.optimizers.Adafactor(0.1),
        lambda: keras.mixed_precision.LossScaleOptimizer(keras.optimizers.Adam(0.1)),
    ],
    ids=["adam", "sgd", "adafactor", "loss_scale"],
)
def test_pruning_clears_the_state_of_pruned_weights_alone(optimizer):
    nested = model.nest(nets.dense_net(), SPARSITIES)
    nested.compile(optimizer(), sparse_loss())
    for _ in range(2):
        nested.train_on_batch(*data())
    before = [v.numpy() for v in nested.optimizer.variables]
    nested.prune()
    kept = nested.get_layer("hidden").mask(2)
    cleared = False
    for variable, expected in zip(nested.optimizer.variables, before, strict=True):
        if variable.shape == kept.shape:
            cleared = cleared or expected[~kept].any()
            expected = np.where(kept, expected, 0)
        np.testing.assert_array_equal(variable, expected, err_msg=variable.path)
    assert cleared or optimizer().name == "adafactor"


def test_shared_gamma_and_beta_learn_from_all_levels():
    nested = model.nest(nets.residual(), (0.6, 0.3), shared_affine=True)
    nested.prune()
    nested.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    norms = [x for x in nested.layers if isinstance(x, layers.NestedBatchNormalization)]
    nested.train_on_batch(nets.images(8), np.arange(8) % 3)
    for norm in norms:
        channels = norm.gamma.shape[-1]
        assert norm.gamma.shape == norm.beta.shape == (1, channels)
        assert norm.moving_mean.shape == (2, channels)
        assert norm.beta.numpy().any()
    assert not np.array_equal(norms[-1].moving_mean[0], norms[-1].moving_mean[1])
    copy = keras.models.clone_model(nested)
    assert all(
        x.shared_affine for x in copy.layers if isinstance(x, layers.NestedBatchNormalization)
    )


def test_routing_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="must be a number or a LearningRateSchedule: got 'half'"):
        pruned_net(routing=("half", 1.0, 1.0))
