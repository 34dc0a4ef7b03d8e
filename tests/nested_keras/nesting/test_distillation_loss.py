import keras
import numpy as np
import pytest

import nested_keras
from nested_keras.distillation import Distillation
from nested_keras.nesting import model
from tests.nested_keras import nets

pytestmark = pytest.mark.slow

SPARSITIES = (0.75, 0.5, 0.25)


def data(count=24):
    return nets.images(count, (12,)), np.random.default_rng(1).integers(0, 3, count)


def sparse_loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def compiled(**kwargs):
    nested = model.nest(nets.dense_net(), SPARSITIES)
    nested.prune()
    nested.compile(keras.optimizers.SGD(0.0), sparse_loss(), **kwargs)
    return nested


def softmax(logits, temperature):
    scaled = np.exp(np.float64(logits) / temperature)
    return scaled / scaled.sum(-1, keepdims=True)


def divergence(targets, logits, temperature):
    log = np.log(softmax(logits, temperature))
    return temperature**2 * (targets * (np.log(targets) - log)).sum(-1)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("with_teacher", [False, True])
@pytest.mark.parametrize("sample_weight", [None, np.linspace(0, 2, 24)])
def test_loss_is_the_weighted_sum_of_labels_and_sources(in_place, with_teacher, sample_weight):
    if not (in_place or with_teacher):
        return
    teacher = nets.dense_net(units=6, seed=5) if with_teacher else None
    weight, temperature = 0.3, 1.7
    nested = compiled(
        level_loss_weights=(1.0, 2.0, 0.5),
        distillation=Distillation(
            teacher=teacher,
            in_place=in_place,
            weight=weight,
            temperature=temperature,
            from_logits=True,
        ),
    )
    x, y = data()
    logits = [nested.at_level(level)(x).numpy() for level in range(3)]
    expected = 0.0
    for level, share in enumerate((1.0, 2.0, 0.5)):
        sources = [teacher(x).numpy()] if with_teacher else []
        sources += [logits[2]] if in_place and level < 2 else []
        own = float(sparse_loss()(y, logits[level], sample_weight=sample_weight))
        if sources:
            targets = np.mean([softmax(source, temperature) for source in sources], axis=0)
            distilled = divergence(targets, logits[level], temperature)
            if sample_weight is not None:
                distilled = distilled * sample_weight
            own = (1 - weight) * own + weight * distilled.mean()
        expected += share * own
    logs = nested.train_on_batch(x, y, sample_weight=sample_weight, return_dict=True)
    assert float(logs["loss"]) == pytest.approx(expected, rel=1e-4)
    plain = nets.evaluate(nested, x, y)
    assert plain["level_0_loss"] == pytest.approx(float(sparse_loss()(y, logits[0])), rel=1e-5)


def test_probabilities_and_logits_give_the_same_loss():
    logits, towards = nets.images(8, (5,), seed=1), nets.images(8, (5,), seed=2)
    values = []
    for from_logits in (True, False):
        kwargs = {"in_place": True, "temperature": 2.5, "from_logits": from_logits}
        loss = Distillation(**kwargs).loss()
        outputs = [x if from_logits else softmax(x, 1) for x in (logits, towards)]
        values.append(float(loss(loss.softened(outputs[1:]), outputs[0])))
    expected = divergence(softmax(towards, 2.5), logits, 2.5).mean()
    assert values == pytest.approx([expected, expected], rel=1e-4)


def test_no_gradient_enters_the_densest_level_as_a_source():
    """Of the head's bias, which all levels share: the gradient is that towards fixed targets."""
    kwargs = {"in_place": True, "weight": 1.0, "temperature": 1.0, "from_logits": True}
    nested = compiled(distillation=Distillation(**kwargs), level_loss_weights=(1.0, 1.0, 0.0))
    nested.optimizer.learning_rate = 1.0
    x, y = data()
    probabilities = [softmax(nested.at_level(level)(x), 1) for level in range(3)]
    bias = nested.get_layer("head").bias
    before = bias.numpy()
    nested.train_on_batch(x, y)
    expected = sum((probabilities[level] - probabilities[2]).mean(0) for level in (0, 1))
    np.testing.assert_allclose(before - bias.numpy(), expected, rtol=1e-3, atol=1e-5)


def test_teacher_is_neither_trained_nor_saved(tmp_path):
    teacher = nets.dense_net(units=6, seed=5)
    teacher.add(keras.layers.BatchNormalization())
    nested = compiled(distillation=Distillation(teacher=teacher, from_logits=True))
    nested.optimizer.learning_rate = 0.1
    before = [weight.numpy() for weight in teacher.weights]
    assert len(nested.weights) == 5
    nested.train_on_batch(*data())
    for weight, value in zip(teacher.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    nested.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="trained with a teacher, and the file has no teacher"):
        loaded = nested_keras.load_model(tmp_path / "model.keras")
    loaded.train_on_batch(*data())


def test_distillation_in_place_survives_saving(tmp_path):
    nested = compiled(distillation=Distillation(in_place=True, weight=0.25, temperature=3.0))
    nested.save(tmp_path / "model.keras")
    loaded = nested_keras.load_model(tmp_path / "model.keras")
    assert loaded.get_compile_config() == nested.get_compile_config()
    config = loaded.get_compile_config()["distillation"]["config"]
    assert (config["in_place"], config["weight"], config["temperature"]) == (True, 0.25, 3.0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({}, "must have a teacher, in_place=True or both: got teacher=None and in_place=False"),
        ({"in_place": True, "weight": 1.5}, r"weight .* must lie in \[0, 1\]: got 1.5"),
        ({"in_place": True, "temperature": 0.0}, "temperature must be above 0: got 0.0"),
    ],
)
def test_wrong_settings_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Distillation(**kwargs)


def test_several_outputs_are_refused():
    nested = model.nest(nets.branches(), SPARSITIES)
    with pytest.raises(ValueError, match="distillation must have a model with one output: got 2"):
        nested.compile("sgd", "mse", distillation=Distillation(in_place=True))


def softmax_net(**kwargs):
    net = nets.dense_net(**kwargs)
    return keras.Sequential([keras.Input((12,)), *net.layers, keras.layers.Softmax()])


@pytest.mark.parametrize("from_logits", [None, True])
def test_logits_are_read_from_the_model(from_logits):
    teacher = nets.dense_net(units=6, seed=5)
    nested = compiled(distillation=Distillation(teacher=teacher, from_logits=from_logits))
    assert nested.get_compile_config()["distillation"] is None  # with a teacher
    soft = model.nest(softmax_net(), SPARSITIES)
    soft.compile(
        keras.optimizers.SGD(0.0),
        "sparse_categorical_crossentropy",
        distillation=Distillation(teacher=softmax_net(units=6, seed=5)),
    )
    values = []
    for net in (nested, soft):
        net.set_weights(nested.get_weights())
        values.append(float(net.train_on_batch(*data(), return_dict=True)["loss"]))
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def one_score():
    layers = [keras.layers.Dense(4), keras.layers.Dense(1, activation="sigmoid")]
    return keras.Sequential([keras.Input((12,)), *layers])


def ending_in_tanh():
    net = nets.dense_net()
    return keras.Sequential([keras.Input((12,)), *net.layers, keras.layers.Activation("tanh")])


@pytest.mark.parametrize(
    ("make", "kwargs", "message"),
    [
        (nets.dense_net, {"from_logits": False}, r"ends in logits .*, from_logits=False"),
        (softmax_net, {"from_logits": True}, r"the model ends in softmax .*, from_logits=True"),
        (nets.dense_net, {"teacher": softmax_net}, r"ends in logits .*, the teacher ends in soft"),
        (one_score, {}, r"two or more classes along its last axis: got outputs of shape \(None, 1"),
        (ending_in_tanh, {}, "from_logits must be True or False, because the end of the model"),
    ],
)
def test_contradicting_ends_are_refused(make, kwargs, message):
    if "teacher" in kwargs:
        kwargs = {"teacher": kwargs["teacher"]()}
    nested = model.nest(make(), SPARSITIES)
    with pytest.raises(ValueError, match=message):
        nested.compile("sgd", "mse", distillation=Distillation(**{"in_place": True, **kwargs}))


def test_from_logits_decides_where_the_end_does_not_say():
    nested = model.nest(ending_in_tanh(), SPARSITIES)
    distillation = Distillation(in_place=True, from_logits=True)
    nested.compile("sgd", sparse_loss(), distillation=distillation)
    assert np.isfinite(nested.train_on_batch(*data())[0])


def test_several_sigmoids_are_no_distribution():
    base = nets.dense_net()
    base.add(keras.layers.Activation("sigmoid"))
    nested = model.nest(base, SPARSITIES)
    with pytest.raises(ValueError, match="the model ends in a sigmoid"):
        nested.compile("sgd", "mse", distillation=Distillation(in_place=True))
