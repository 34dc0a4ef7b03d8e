import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import nested_keras
from nested_keras.nesting import conversion, layers, masks, model
from tests.nested_keras import nets

pytestmark = pytest.mark.slow

L = keras.layers


def kinds(nested):
    """The layers with weights, by name."""
    return {layer.name: type(layer).__name__ for layer in nested.layers if layer.weights}


def branch_batch(count=4):
    return {"left": nets.images(count), "right": nets.images(count, (5,), seed=1)}


@pytest.mark.parametrize("net", nets.IMAGE_NETS, ids=lambda net: net.__name__)
@pytest.mark.parametrize("exclude", [None, ()], ids=["default", "everything"])
def test_every_level_computes_what_the_model_did_until_it_is_pruned(net, exclude):
    base = nets.randomise(net(), seed=0)
    before = [w.numpy() for w in base.weights]
    x = nets.images(4)
    expected = base(x).numpy()
    nested = model.nest(base, exclude=exclude)
    np.testing.assert_array_equal(nested(x), expected)
    for level in range(3):
        np.testing.assert_array_equal(nested.at_level(level)(x), expected)
    nested.prune()
    outputs = [nested.at_level(level)(x).numpy() for level in range(3)]
    np.testing.assert_array_equal(nested(x), outputs[2])
    assert not np.array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[1], outputs[2])
    np.testing.assert_array_equal(base(x), expected, "the base model is left alone")
    for weight, value in zip(base.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_inputs_and_outputs_keep_their_structure():
    base = nets.randomise(nets.branches(), seed=0)
    nested = model.nest(base, exclude=["stem"])
    x = branch_batch()
    for runner in (nested, nested.at_level(0)):
        outputs = runner(x)
        assert set(outputs) == {"a", "b"}
        for name, expected in base(x).items():
            np.testing.assert_array_equal(outputs[name], expected)
    assert nested.output_names == base.output_names
    assert kinds(nested) == {
        "stem": "Conv2D",
        "conv": "NestedConv2D",
        "side": "NestedDense",
        "a": "NestedDense",
        "b": "NestedDense",
    }


def test_first_convolution_depthwise_kernels_and_last_dense_stay_dense():
    nested = model.nest(nets.randomise(nets.mobile(), seed=0))
    assert list(kinds(nested).values()) == [
        "Conv2D",
        "NestedBatchNormalization",
        "DepthwiseConv2D",
        "NestedBatchNormalization",
        "DepthwiseConv2D",
        "NestedConv2D",
        "Dense",
    ]
    everything = model.nest(nets.mobile(), exclude=())
    assert list(kinds(everything).values()) == [
        "NestedConv2D",
        "NestedBatchNormalization",
        "NestedDepthwiseConv2D",
        "NestedBatchNormalization",
        "NestedDepthwiseConv2D",
        "NestedConv2D",
        "NestedDense",
    ]


def test_names_of_a_separable_convolution():
    inputs = keras.Input((6, 6, 3))
    x = L.SeparableConv2D(4, 3, name="sep", bias_regularizer="l2")(inputs)
    base = keras.Model(inputs, L.Conv2D(4, 3, name="conv")(x))
    assert kinds(model.nest(base)) == {
        "sep_depthwise": "DepthwiseConv2D",
        "sep_pointwise": "Conv2D",
        "conv": "NestedConv2D",
    }
    assert kinds(model.nest(base, exclude=["sep"])) == kinds(model.nest(base))
    nested = model.nest(base, exclude=["sep_depthwise"], block_shape=(1, 2))
    assert kinds(nested)["sep_depthwise"] == "DepthwiseConv2D"
    assert nested.get_layer("sep_pointwise").block_shape == (1, 2)
    assert nested.get_layer("sep_pointwise").bias.regularizer is not None
    overrides = {"sep_depthwise": {"sparsities": (0.5, 0.2, 0.1)}, "sep": {"block_shape": (1, 4)}}
    nested = model.nest(base, overrides=overrides)
    assert nested.get_layer("sep_depthwise").sparsities == (0.5, 0.2, 0.1)
    assert nested.get_layer("sep_pointwise").block_shape == (1, 4)


def test_a_layer_in_several_places_stays_one():
    inputs = keras.Input((6, 4, 3))
    prelu = L.PReLU(shared_axes=[1, 2], name="slopes")
    dense = L.Dense(4, name="inner")
    x = L.Conv2D(4, 1, activation=prelu, name="first")(inputs)
    x = L.Conv2D(4, 3, padding="same", activation=prelu, name="second")(x)
    x = dense(L.TimeDistributed(dense, name="rows")(prelu(x)))
    base = keras.Model(inputs, L.Dense(2)(x))
    base(nets.images(1, (6, 4, 3)))  # builds the activations
    prelu.set_weights([np.full((1, 1, 4), 0.3)])
    nested = model.nest(base, exclude=())
    assert sum(isinstance(layer, L.PReLU) for layer in nested.layers) == 1
    assert sum(isinstance(layer, L.Dense) for layer in nested.layers) == 2
    assert len(nested.trainable_variables) == len(base.trainable_variables)


def test_layers_of_series_nest_as_their_kin_of_images():
    inputs = keras.Input((12, 3))
    x = L.Conv1D(4, 3, name="first")(inputs)
    x = L.SeparableConv1D(4, 3, name="sep", activation="relu")(x)
    x = L.Conv2D(4, 1, name="image")(L.Reshape((2, 4, 4), name="reshape")(x))
    x = L.Reshape((8, 4), name="back")(x)
    x = L.TimeDistributed(L.Dense(5, activation="relu", name="inner"), name="steps")(x)
    base = nets.randomise(keras.Model(inputs, L.TimeDistributed(L.Dense(2), name="last")(x)), 0)
    nested = model.nest(base)
    assert kinds(nested) == {
        "first": "Conv1D",
        "sep_depthwise": "DepthwiseConv1D",
        "sep_pointwise": "NestedConv1D",
        "image": "NestedConv2D",
        "steps": "NestedDense",
        "last": "Dense",
    }
    assert nested.get_layer("steps").activation is keras.activations.relu
    np.testing.assert_array_equal(
        nested.get_layer("steps").kernel, base.get_layer("steps").layer.kernel
    )
    nested = model.nest(base, exclude=["steps"], overrides={"sep_depthwise": {}})
    assert kinds(nested)["steps"] == "Dense"
    assert kinds(nested)["sep_depthwise"] == "NestedDepthwiseConv1D"


def test_block_shape_of_a_depthwise_kernel_cannot_be_overridden():
    base = nets.mobile()
    assert model.nest(base, exclude=(), block_shape=(1, 2)).nested_layers[1].block_shape == (1, 1)
    name = next(layer.name for layer in base.layers if "depthwise" in layer.name)
    with pytest.raises(
        ValueError, match=rf"'{name}' must have block_shape \(1, 1\).*: got \(1, 2\)"
    ):
        model.nest(base, overrides={name: {"block_shape": (1, 2)}})


def test_overrides_and_sparsities_of_the_whole():
    base = nets.dense_net(units=8, features=12)
    nested = model.nest(base, (0.8, 0.4), overrides={"head": {"sparsities": (0.5, 0.25)}})
    hidden, head = nested.nested_layers
    assert (hidden.sparsities, head.sparsities) == ((0.8, 0.4), (0.5, 0.25))
    total = 12 * 8 + 8 * 3
    assert nested.sparsities == pytest.approx(
        [(96 * 0.8 + 24 * 0.5) / total, (96 * 0.4 + 24 * 0.25) / total]
    )
    assert [nested.level_sparsity(level) for level in range(2)] == [0.0, 0.0]
    nested.prune()
    assert nested.level_sparsity(0) == (96 - round(96 * 0.2) + 12) / total
    assert nested.level_sparsity(1) == (96 - round(96 * 0.6) + 6) / total


def test_pruning_is_by_magnitude_and_layer():
    base = nets.randomise(nets.sequential(), seed=0)
    nested = model.nest(base, block_shape=(1, 2))
    for ratio in (0.0, 0.5, 1.0):
        kernels = [layer.kernel.numpy() for layer in nested.nested_layers]
        nested.prune(ratio)
        for layer, kernel in zip(nested.nested_layers, kernels, strict=True):
            expected = masks.level_map(
                kernel, [s * ratio for s in (0.9, 0.8, 0.7)], block_shape=(1, 2)
            )
            np.testing.assert_array_equal(layer.level_map, expected)


def test_shared_layers_stay_shared():
    nested = model.nest(nets.shared())
    assert len(nested.nested_layers) == 1
    assert len(nested.weights) == len(nets.shared().weights) + 1


def test_names_stay_and_colliding_ones_are_prefixed():
    base = nets.submodels()
    nested = model.nest(base, name="renamed")
    assert nested.name == "renamed"
    assert nested.layers[0].name == base.layers[0].name  # an input that the user did not name
    assert model.nest(base).name == base.name
    assert [name for name in kinds(nested) if "conv" in name] == ["conv", "inner_conv"]
    assert kinds(nested)["norm"] == "NestedBatchNormalization"


def test_layer_settings_are_carried_over():
    inputs = keras.Input((6, 6, 3), name="image")
    x = L.Conv2D(4, 3, trainable=False, kernel_regularizer="l2", dtype="mixed_bfloat16")(inputs)
    x = L.BatchNormalization(momentum=0.5, epsilon=0.1, name="norm", trainable=False)(x)
    nested = model.nest(keras.Model(inputs, x), exclude=())
    conv, norm = nested.nested_layers[0], nested.get_layer("norm")
    assert (conv.trainable, conv.compute_dtype) == (False, "bfloat16")
    assert conv.kernel.regularizer is not None
    assert (norm.momentum, norm.epsilon, norm.trainable, norm.levels) == (0.5, 0.1, False, 3)
    assert nested.inputs[0].name == "image"


def test_old_h5_models_nest(tmp_path):
    base = nets.randomise(nets.mobile(), seed=0)
    keras.saving.save_model(base, tmp_path / "base.h5")
    old = keras.models.load_model(tmp_path / "base.h5", compile=False)
    nested = model.nest(old)
    x = nets.images(4)
    np.testing.assert_array_equal(nested(x), base(x))
    np.testing.assert_array_equal(nested.at_level(0)(x), base(x))


class OldDepthwiseConv2D(L.DepthwiseConv2D):
    """Reads the configs of TensorFlow 2.3, which Keras 3 refuses."""

    def __init__(self, *args, groups=1, **kwargs):
        super().__init__(*args, **kwargs)


def test_subclasses_that_compute_the_same_nest():
    inputs = keras.Input((6, 6, 3))
    x = OldDepthwiseConv2D(3, groups=1, name="depthwise")(inputs)
    base = nets.randomise(keras.Model([inputs], L.Conv2D(3, 3, name="conv")(x)), seed=0)
    nested = model.nest(base, exclude=["depthwise"])
    assert kinds(nested) == {"depthwise": "DepthwiseConv2D", "conv": "NestedConv2D"}
    x = nets.images(2)
    np.testing.assert_array_equal(nested(x), base([x]))

    class Other(L.Conv2D):
        def call(self, inputs):
            return super().call(inputs) * 2

    with pytest.raises(
        ValueError,
        match=r"layer 'x' \(Other\) is not supported, because it overrides call of Conv2D",
    ):
        model.nest(keras.Model(inputs, Other(3, 3, name="x")(inputs)))


def test_at_level_follows_later_changes():
    nested = model.nest(nets.dense_net(), (0.75, 0.5))
    sparse = nested.at_level(0)
    assert nested.at_level(0) is sparse
    assert isinstance(sparse, keras.Model)
    assert sparse.name == f"{nested.name}_level_0"
    x = nets.images(4, (12,))
    before = sparse(x).numpy()
    nested.prune()
    after = sparse(x).numpy()
    assert not np.array_equal(before, after)
    assert {id(w) for w in sparse.weights} == {id(w) for w in nested.weights}
    np.testing.assert_array_equal(sparse.predict(x, verbose=0), sparse(x))
    with pytest.raises(ValueError, match=r"level must be in 0\.\.1: got 2"):
        nested.at_level(2)
    with pytest.raises(ValueError, match=r"level must be in 0\.\.1: got -1"):
        nested.level_sparsity(-1)


@pytest.mark.parametrize("net", nets.IMAGE_NETS, ids=lambda net: net.__name__)
def test_round_trips_keep_masks_and_statistics(net, tmp_path):
    nested = nets.randomise(model.nest(net()), seed=1)
    nested.prune()
    x = nets.images(4)

    nested.save(tmp_path / "model.keras")
    nested.save_weights(tmp_path / "model.weights.h5")
    reloaded = model.NestedModel.from_config(nested.get_config())
    reloaded.load_weights(tmp_path / "model.weights.h5")
    for copy in (nested_keras.load_model(tmp_path / "model.keras"), reloaded):
        assert type(copy) is model.NestedModel
        assert (copy.levels, copy.sparsities, copy.name) == (3, (0.9, 0.8, 0.7), nested.name)
        # Keras turns tuples into lists on the way.
        assert json.dumps(copy.get_config()) == json.dumps(nested.get_config())
        for mine, theirs in zip(nested.weights, copy.weights, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        for level in range(3):
            np.testing.assert_array_equal(copy.at_level(level)(x), nested.at_level(level)(x))

    clone = keras.models.clone_model(nested)
    assert type(clone) is model.NestedModel
    clone.set_weights(nested.get_weights())
    np.testing.assert_array_equal(clone.at_level(0)(x), nested.at_level(0)(x))


def own_activation(function):
    inputs = keras.Input((6, 6, 3))
    x = L.Conv2D(4, 3, activation=function, name="own")(L.Conv2D(3, 3)(inputs))
    return model.nest(keras.Model(inputs, x), (0.5,))


def test_files_never_lead_to_another_function_of_the_same_name(tmp_path):
    def relu(x):
        return keras.ops.clip(x, 0.0, 1.0)

    for function in (relu, lambda x: 2.0 * x):
        nested = own_activation(function)
        with pytest.raises(ValueError, match="layer 'own' must have an activation that a file can"):
            nested.save(tmp_path / "model.keras")
    registered = keras.saving.register_keras_serializable("tests")(relu)
    nested = own_activation(registered)
    nested.save(tmp_path / "model.keras")
    assert nested_keras.load_model(tmp_path / "model.keras").layers[-1].activation is registered


def test_a_file_with_an_unknown_function_says_so_in_one_line(tmp_path):
    def soft_step(x):
        return x / (1.0 + keras.ops.abs(x))

    path = tmp_path / "model.keras"
    own_activation(soft_step).save(path)
    with pytest.raises(ValueError, match="needs the function 'soft_step', which is not") as refusal:
        nested_keras.load_model(path)
    assert len(str(refusal.value).splitlines()) == 1
    loaded = nested_keras.load_model(path, custom_objects={"soft_step": soft_step})
    assert loaded.layers[-1].activation is soft_step


def test_levels_that_differ_from_the_base_model_are_refused(monkeypatch):
    monkeypatch.setattr(conversion, "copy_weights", lambda old, new: None)
    base = nets.randomise(nets.submodels(), seed=0)
    with pytest.raises(
        ValueError, match=r"level 0 must compute .*: layer 'conv' is off by [0-9.]+,"
    ):
        model.nest(base, exclude=())


def test_a_level_that_differs_alone_is_refused(monkeypatch):
    right = layers.NestedDense.masked_kernel
    monkeypatch.setattr(
        layers.NestedDense,
        "masked_kernel",
        lambda self, level=None: right(self, level) * (1.001 if level == 1 else 1.0),
    )
    with pytest.raises(ValueError, match=r"level 1 must compute what model .*: output 0 is off by"):
        model.nest(nets.dense_net())


def test_a_base_model_of_nan_is_refused():
    base = nets.sequential()
    base.layers[1].bias.assign(np.full(5, np.nan))
    name = base.layers[1].name
    with pytest.raises(ValueError, match=f"must give finite numbers .*: layer '{name}' gives NaN"):
        model.nest(base)


def test_half_precision_and_open_sizes_nest():
    inputs = keras.Input((None, None, 3))
    x = L.Conv2D(4, 3, dtype="mixed_float16")(inputs)
    x = L.BatchNormalization(dtype="mixed_float16")(x)
    for _ in range(5):
        x = L.MaxPooling2D(2)(L.Conv2D(4, 3, activation="relu")(x))  # 32 pixels are too few
    x = L.Dense(3)(L.GlobalAveragePooling2D()(x))
    with pytest.warns(UserWarning, match="export will refuse this model: input .* fixed shape"):
        model.nest(nets.randomise(keras.Model(inputs, x), seed=0))


def test_saving_before_and_after_at_level_is_the_same(tmp_path):
    nested = model.nest(nets.randomise(nets.residual(), seed=0))
    nested.save_weights(tmp_path / "before.weights.h5")
    nested.at_level(1)
    assert len(nested.variables) == len(nested.weights)
    nested.save_weights(tmp_path / "after.weights.h5")
    fresh = model.nest(nets.residual())
    fresh.load_weights(tmp_path / "after.weights.h5")
    x = nets.images(2)
    np.testing.assert_array_equal(fresh(x), nested(x))
    fresh.load_weights(tmp_path / "before.weights.h5")


def test_one_level_saves_as_a_model_of_its_own(tmp_path):
    nested = model.nest(nets.randomise(nets.shared(), seed=0))
    nested.prune()
    nested.at_level(1).save(tmp_path / "level.keras")
    x = nets.images(4)
    loaded = nested_keras.load_model(tmp_path / "level.keras")
    np.testing.assert_array_equal(loaded(x), nested.at_level(1)(x))


def test_evaluate_levels_agrees_with_each_level_alone():
    nested = model.nest(nets.dense_net(), (0.75, 0.5))
    nested.prune()
    nested.compile("sgd", "mse", metrics=["mae"])
    x, y = nets.images(50, (12,)), nets.images(50, (3,), seed=1)
    rows = nested.evaluate_levels(x, y, batch_size=16)
    assert [list(row) for row in rows] == [["level", "sparsity", "loss", "mae"]] * 2
    for level, row in enumerate(rows):
        alone = nested.at_level(level)(x).numpy()
        assert row["level"] == level
        assert row["sparsity"] == nested.level_sparsity(level)
        assert row["loss"] == pytest.approx(np.square(alone - y).mean(), rel=1e-5)
        assert row["mae"] == pytest.approx(np.abs(alone - y).mean(), rel=1e-5)


def test_predict_and_summary_are_those_of_the_densest_level(capsys):
    nested = model.nest(nets.dense_net(), (0.75, 0.5))
    nested.prune()
    x = nets.images(5, (12,))
    np.testing.assert_allclose(nested.predict(x, verbose=0), nested.at_level(1)(x), rtol=1e-6)
    nested.summary()
    assert "NestedDense" in capsys.readouterr().out


class Custom(L.Layer):
    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],))

    def call(self, inputs):
        return inputs * self.scale


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (L.GroupNormalization(3, name="x"), r"layer 'x' \(GroupNormalization\) is not supported"),
        (Custom(name="x"), r"'x' \(Custom\) is not supported: .*Conv1D/2D, .*Dense, Dep"),
        (
            L.Conv2D(6, 3, data_format="channels_first", name="x"),
            r"'x' \(Conv2D\) must have data_format='channels_last': got 'channels_first'",
        ),
        (
            L.BatchNormalization(axis=1, name="x"),
            r"layer 'x' \(BatchNormalization\) must have axis -1: got 1",
        ),
    ],
)
def test_unsupported_layers_are_refused(layer, message):
    inputs = keras.Input((6, 6, 3))
    base = keras.Model(inputs, layer(L.Conv2D(3, 3, padding="same")(inputs)))
    with pytest.raises(ValueError, match=message):
        model.nest(base, exclude=())


def test_renormalisation_is_refused():
    norm = L.BatchNormalization(name="x")
    norm.renorm = True  # an argument since Keras 3.14
    inputs = keras.Input((6, 6, 3))
    base = keras.Model(inputs, norm(L.Conv2D(3, 3)(inputs)))
    message = r"layer 'x' \(BatchNormalization\) must have renorm=False: got True"
    with pytest.raises(ValueError, match=message):
        model.nest(base, exclude=())


def test_batch_norm_with_the_last_axis_by_its_index_is_taken():
    inputs = keras.Input((6, 6, 3))
    base = keras.Model(inputs, L.BatchNormalization(axis=3)(L.Conv2D(3, 3)(inputs)))
    assert model.nest(base, exclude=()).layers[-1].axis == -1


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"sparsities": (0.7, 0.9)}, r"sparsities must decrease strictly .*: got \(0.7, 0.9\)"),
        ({"block_shape": (1, 8)}, r"block_shape must be one of .*: got \(1, 8\)"),
        ({"exclude": ["nose"]}, r"exclude must name layers with a kernel, of .*: got \['nose'\]"),
        ({"overrides": {"nose": {}}}, r"overrides must name layers .*'hidden'.*: got \['nose'\]"),
        (
            {"overrides": {"head": {"sparsity": 0.5}}},
            r"overrides of 'head' must have the keys \['block_shape', 'sparsities'\]: got \['spars",
        ),
        (
            {"overrides": {"head": {"sparsities": (0.5,)}}},
            r"overrides of 'head' must have 3 sparsities, .*: got \(0.5,\)",
        ),
        ({"overrides": {"hidden": {"block_shape": (2, 2)}}}, r"one of .*: got \(2, 2\)"),
        ({"exclude": ["hidden", "head"]}, "model has no layer to nest .*: got the layers hidden,"),
    ],
)
def test_wrong_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        model.nest(nets.dense_net(), **kwargs)


def test_an_input_that_no_output_needs_is_refused():
    image, other = keras.Input((4,), name="image"), keras.Input((5,), name="other")
    try:
        base = keras.Model([image, other], L.Dense(3)(image))
    except ValueError:
        pytest.skip("Keras 3.12 refuses such a model itself")
    with pytest.raises(ValueError, match=r"must be read by a layer: got 'other', which no output"):
        model.nest(base, exclude=())


def test_wrong_models_are_refused():
    class Subclassed(keras.Model):
        pass

    with pytest.raises(TypeError, match=r"functional or Sequential .*: got Subclassed"):
        model.nest(Subclassed())
    with pytest.raises(TypeError, match=r"functional or Sequential .*: got str"):
        model.nest("model.keras")
    with pytest.raises(ValueError, match="model 'raw' must be built"):
        model.nest(keras.Sequential([L.Dense(3), L.Dense(3)], name="raw"))
    with pytest.raises(TypeError, match="iterable of layer names: got the str 'head'"):
        model.nest(nets.dense_net(), exclude="head")
    inputs = keras.Input((4,))
    with pytest.raises(ValueError, match="model 'plain' must have a layer with a nested kernel"):
        model.NestedModel(inputs, L.Dense(3)(inputs), name="plain")
    x = layers.NestedDense(3, sparsities=(0.5,), name="one")(inputs)
    x = layers.NestedDense(3, sparsities=(0.5, 0.1), name="two")(x)
    with pytest.raises(ValueError, match=r"same number of levels: got \{'one': 1, 'two': 2\}"):
        model.NestedModel(inputs, x)


def test_the_package_imports_without_keras():
    code = """if True:
        import sys, nested_keras
        assert not {"keras", "tensorflow"} & set(sys.modules)
        assert {"nest", "NestedModel", "callbacks", "export", "runtime"} <= set(dir(nested_keras))
        assert nested_keras.masks.check_block_shape((1, 2)) == (1, 2)
        assert "keras" not in sys.modules
        try:
            nested_keras.nonsense
        except AttributeError as error:
            assert "has no attribute 'nonsense'" in str(error)
        else:
            raise AssertionError
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_members_are_those_of_the_modules():
    assert nested_keras.nest is model.nest
    assert nested_keras.NestedModel is model.NestedModel
    assert nested_keras.layers is layers


@pytest.mark.parametrize("block_shape", [(1, 1), (1, 4)])
def test_the_shortfall_names_the_levels_that_keep_too_much(block_shape):
    nested = model.nest(nets.dense_net(), (0.9, 0.5), block_shape=block_shape)
    assert nested.shortfall() == ("level 0: asked 0.90, has 0.00, level 1: asked 0.50, has 0.00")
    nested.prune(0.5)
    assert 0.45 < nested.ramp_reached() < 0.55
    assert nested.shortfall().startswith("level 0: asked 0.90, has 0.4")
    nested.prune()
    assert (nested.shortfall(), nested.ramp_reached()) == ("", 1.0)
    nested.set_sparsities({"hidden": (0.95, 0.5)})
    assert nested.shortfall().startswith("level 0: asked 0.95, has 0.")
    assert "level 1" not in nested.shortfall()
    dense = model.nest(nets.dense_net(), (0.0,))
    assert (dense.shortfall(), dense.ramp_reached()) == ("", 1.0)


def test_the_summary_has_the_sparsities(capsys):
    nested = model.nest(nets.dense_net(), (0.75, 0.5))
    nested.prune(0.5)
    nested.summary()
    line = "Sparsity: level 0 0.38 (asked 0.75), level 1 0.25 (asked 0.50)"
    shown = capsys.readouterr().out
    assert "Total params" in shown
    assert shown.count(line) == 1
    lines = []
    nested.summary(print_fn=lines.append)
    assert line in lines[-1]
    nested.summary(80, None, lines.append)
    assert line in lines[-1]
    assert capsys.readouterr().out == ""
