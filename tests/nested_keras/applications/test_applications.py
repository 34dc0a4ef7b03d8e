import keras
import numpy as np
import pytest

from nested_keras import applications, export, nest, runtime
from nested_keras.allocation import budget

pytestmark = pytest.mark.slow

# (the model, its parameters, where the number was published)
PUBLISHED = {
    "resnet8": (lambda: applications.resnet8(use_bias=True), 78_666),  # MLPerf Tiny
    "mobilenet_v1": (lambda: applications.mobilenet_v1(use_bias=True), 221_794),  # MLPerf Tiny
    "ds_cnn": (lambda: applications.ds_cnn(use_bias=True), 24_908),  # MLPerf Tiny
    # keras.applications.MobileNet, at the widths 1 and 0.25
    "mobilenet_v1_1.0": (
        lambda: applications.mobilenet_v1((224, 224, 3), 1000, width=1.0),
        4_253_864,
    ),
    "mobilenet_v1_0.25": (lambda: applications.mobilenet_v1((224, 224, 3), 1000), 475_544),
    # keras.applications.MobileNetV2
    "mobilenet_v2_1.0": (applications.mobilenet_v2, 3_538_984),
    "mobilenet_v2_0.35": (lambda: applications.mobilenet_v2(width=0.35), 1_691_208),
}

SMALL = {
    "resnet8": lambda: applications.resnet8((16, 16, 3), 4, width=0.25),
    "resnet9": lambda: applications.resnet9((16, 16, 3), 4, width=0.0625),
    "mobilenet_v1": lambda: applications.mobilenet_v1((32, 32, 3), 4, width=0.125),
    "mobilenet_v2": lambda: applications.mobilenet_v2((32, 32, 3), 4, width=0.1),
    "ds_cnn": lambda: applications.ds_cnn((20, 10, 1), 4, width=0.25),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_the_published_ones(name):
    make, count = PUBLISHED[name]
    assert make().count_params() == count


def test_resnet9_has_the_published_parameters_and_a_bias_in_its_last_layer():
    model = applications.resnet9()
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable == 6_573_120 + 10


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1.0, 1.4])
def test_mobilenet_v2_has_the_filters_of_keras_applications(width):
    ours = applications.mobilenet_v2((32, 32, 3), 7, width=width)
    theirs = keras.applications.MobileNetV2((32, 32, 3), alpha=width, weights=None, classes=7)
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]


def test_mobilenet_v1_computes_what_keras_applications_computes():
    # There strides of 2 pad by hand; on even sizes that is what "same" does.
    keras.utils.set_random_seed(0)
    ours = applications.mobilenet_v1((64, 64, 3), 7, classifier_activation=None)
    theirs = keras.applications.MobileNet((64, 64, 3), alpha=0.25, weights=None, classes=7)
    weights = [weight.numpy() for weight in ours.weights]
    theirs.set_weights([w.reshape(t.shape) for w, t in zip(weights, theirs.weights, strict=True)])
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 64, 64, 3)).astype("float32")
    logits = keras.Model(theirs.input, theirs.layers[-2].output)(x).numpy()
    # ReLU6 there, ReLU here: small images keep all activations below 6.
    np.testing.assert_allclose(ours(x).numpy(), logits, rtol=1e-4, atol=1e-5 * logits.std())
    assert logits.std() > 1e-3


@pytest.mark.parametrize(
    ("model", "before_the_head"),
    [
        (lambda: applications.resnet8(), (8, 8, 64)),
        (lambda: applications.resnet9(), (4, 4, 512)),
        (lambda: applications.mobilenet_v1(), (3, 3, 256)),
        (lambda: applications.mobilenet_v1((32, 32, 3), 10, stem_strides=1), (2, 2, 256)),
        (lambda: applications.mobilenet_v2((32, 32, 3), 10, stem_strides=1), (2, 2, 1280)),
        (lambda: applications.ds_cnn(), (25, 5, 64)),
    ],
)
def test_last_feature_map(model, before_the_head):
    assert model().get_layer("pool").input.shape[1:] == before_the_head


@pytest.mark.parametrize("name", SMALL)
def test_layers_have_the_same_names_at_every_width(name):
    make = getattr(applications, name)
    names = [[layer.name for layer in make(width=width).layers] for width in (0.5, 1.0)]
    assert names[0] == names[1]


@pytest.mark.parametrize("name", SMALL)
def test_nests_and_exports(name):
    keras.utils.set_random_seed(0)
    base = SMALL[name]()
    model = nest(base, (0.8, 0.5))
    x = np.random.default_rng(0).normal(size=(4, *base.input_shape[1:])).astype("float32")
    np.testing.assert_array_equal(model(x), base(x))
    model.prune()
    tflite = export.to_tflite(model, representative_dataset=x)  # it checks all levels itself
    reference = runtime.ReferenceModel(tflite)
    assert reference.levels == 2
    assert np.asarray(reference.run(x, 0)).shape == (4, 4)


@pytest.mark.parametrize("make", [getattr(applications, name) for name in SMALL])
def test_width_must_be_positive(make):
    with pytest.raises(ValueError, match=r"width must be positive: got 0\.0"):
        make(width=0.0)


def test_ssd_has_the_outputs_that_its_anchors_ask_for():
    anchors = applications.ssd_anchors((64, 48, 3))
    assert anchors.feature_maps == ((8, 6), (4, 3), (2, 2), (1, 1), (1, 1))
    model = applications.ssd_mobilenet_v2((64, 48, 3), 4, width=0.1)
    assert anchors.count == 4 * (48 + 12 + 4 + 1 + 1)
    assert {name: output.shape for name, output in model.output.items()} == {
        "boxes": (None, anchors.count, 4),
        "scores": (None, anchors.count, 5),
    }
    assert list(model.output) == ["boxes", "scores"]


def test_ssd_outputs_follow_the_order_of_the_anchors():
    """What changes at one place of a feature map changes the outputs of its anchors."""
    model = applications.ssd_mobilenet_v2((64, 64, 3), 2, width=0.1)
    anchors = applications.ssd_anchors((64, 64, 3))
    head = model.get_layer("scores0_predict")
    tail = keras.Model(head.output, model.get_layer("scores0_reshape")(head.output))
    x = np.zeros((1, 8, 8, 12), "float32")
    x[0, 2, 5, 3:6] = 1.0
    changed = np.flatnonzero(tail(x).numpy()[0].any(axis=1))
    np.testing.assert_array_equal(anchors.boxes()[changed, :2], [[2.5 / 8, 5.5 / 8]])
    shape = np.array(anchors.shapes[0][1], np.float32)
    np.testing.assert_array_equal(anchors.boxes()[changed, 2:], [shape])


def test_ssd_has_the_backbone_of_mobilenet_v2():
    plain = applications.mobilenet_v2((64, 64, 3), 2, width=0.1)
    names = {layer.name for layer in plain.layers if layer.name.startswith(("stem", "block"))}
    ssd = applications.ssd_mobilenet_v2((64, 64, 3), 2, width=0.1)
    assert names <= {layer.name for layer in ssd.layers}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"classes": 0}, "classes must be 1 or more: got 0"),
        ({"width": 0.0}, "width must be positive"),
        ({"anchors": applications.ssd_anchors((96, 96, 3))}, "must be on the feature maps"),
    ],
)
def test_ssd_refuses_wrong_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        applications.ssd_mobilenet_v2((64, 64, 3), **{"width": 0.1, "classes": 2} | arguments)


def test_ssd_keeps_to_its_budget_of_cycles():
    """At most 45 million modelled cycles at 90 % zeros and 160x160 (benchmarks/detection)."""
    for width, most in ((0.5, 45e6), (0.35, 34e6)):
        model = nest(applications.ssd_mobilenet_v2(classes=10, width=width))
        assert budget.total(model, budget.cycles)[0] <= most
