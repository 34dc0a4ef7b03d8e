"""`nested-keras train`, as a user calls it."""

import re
import signal

import keras
import numpy as np
import pytest

import nested_keras
from nested_keras import recipe
from nested_keras.augmentation import Augmentation
from nested_keras.callbacks import NestedPruning
from nested_keras.nesting.model import NestedModel
from tests.nested_keras.cli.commands import nested_keras_command, write_base, write_data

pytestmark = pytest.mark.slow


def test_train_then_export(folder, capsys):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 96)
    images = rng.normal(size=(96, 6, 6, 2)).astype(np.float32) + labels[:, None, None, None]
    np.savez(
        folder / "train.npz",
        x_train=images[:64],
        y_train=labels[:64],
        x_test=images[64:],
        y_test=labels[64:],
    )
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.Conv2D(8, 3, use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x)).save(folder / "base.keras")
    nested, tflite = folder / "nested.keras", folder / "trained.tflite"
    common = ("--data", folder / "train.npz")
    train = ("--model", folder / "base.keras", "--sparsities", "0.8,0.5", "--epochs", 2)
    assert nested_keras_command("train", *common, *train, "--out", nested) == 0
    assert "0.799" in (text := capsys.readouterr().out) or "0.800" in text or "0.802" in text
    assert nested_keras_command("export", nested, *common, "--samples", 16, "--out", tflite) == 0
    assert "verified" in capsys.readouterr().out
    assert nested_keras_command("run", tflite, "--target", "litert", *common) == 0


def test_train_keeps_the_model_that_it_nests(folder, capsys):
    arguments = [*train_arguments(folder), "--out", folder / "." / "base.keras"]
    before = (folder / "base.keras").read_bytes()
    assert nested_keras_command(*arguments) == 1
    assert "--out must not replace the model that is nested" in capsys.readouterr().err
    assert (folder / "base.keras").read_bytes() == before


def train_arguments(folder, *ends, **changed):
    base = write_base(folder / "base.keras", *ends or (keras.layers.Dense(3),))
    data = write_data(folder / "train.npz", **changed)
    common = ("--sparsities", "0.8,0.5", "--batch-size", 20, "--out", folder / "nested.keras")
    return ("train", "--model", base, "--data", data, *common)


@pytest.mark.parametrize(
    ("make", "loss", "from_logits"),
    [
        (lambda: [keras.layers.Dense(3)], "SparseCategoricalCrossentropy", True),
        (lambda: [keras.layers.Dense(3), keras.layers.Softmax()], "SparseCategorical", False),
        (lambda: [keras.layers.Dense(1)], "BinaryCrossentropy", True),
        (lambda: [keras.layers.Dense(1, activation="sigmoid")], "BinaryCrossentropy", False),
    ],
)
def test_train_takes_the_loss_from_the_end_of_the_model(
    make, loss, from_logits, tmp_path, monkeypatch
):
    compiled = {}
    compile_ = NestedModel.compile

    def spy(self, optimizer, loss, **kwargs):
        compiled.update(loss=loss, **kwargs)
        compile_(self, optimizer, loss, **kwargs)

    monkeypatch.setattr(NestedModel, "compile", spy)
    labels = {name: np.arange(48) % 2 for name in ("y_train", "y_test")}
    command = train_arguments(tmp_path, *make(), **(labels if "Binary" in loss else {}))
    assert nested_keras_command(*command, "--epochs", 1) == 0
    assert type(compiled["loss"]).__name__.startswith(loss)
    assert compiled["loss"].get_config()["from_logits"] is from_logits
    if "Binary" in loss:
        assert compiled["metrics"][0].threshold == (0.0 if from_logits else 0.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "base.keras",
        "nested.keras",
        "train.npz",
    ]


@pytest.mark.parametrize(
    ("ends", "changed", "message"),
    [
        ([keras.layers.Dense(3, activation="tanh")], {}, "or in logits: got 3 outputs of"),
        ([keras.layers.Dense(3, activation="sigmoid")], {}, "or in logits: got 3 outputs of"),
        ([], {"y_train": np.arange(48)}, "y_train must hold whole numbers in 0..3: got 4 at 4"),
        ([], {"y_test": np.full(48, -1)}, "y_test must hold whole numbers in 0..3: got -1 at 0"),
        ([], {"x_train": np.full((48, 6, 6, 1), np.nan)}, "x_train must be finite: got 1728 val"),
        ([], {"x_test": np.zeros((48, 6, 1))}, "x_test must have the shape [n, 6, 6, 1] of the"),
        ([], {"y_train": np.zeros(7)}, "y_train: expected 48 labels, one per input: got 7"),
        ([], {"y_train": np.eye(48)}, "got shape (48, 48) (of one-hot labels take argmax(axis=1))"),
    ],
)
def test_train_refuses_before_it_trains(ends, changed, message, tmp_path, capsys):
    assert (
        nested_keras_command(
            *train_arguments(tmp_path, *ends or [keras.layers.Flatten()], **changed)
        )
        == 1
    )
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert "Epoch" not in captured.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.keras", "train.npz"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("none/x.keras", "expected a folder to write x.keras to: "),
        ("x.tflite", "expected the name of a file that ends in .keras: got"),
        ("folder.keras", "expected a file to write: "),
    ],
)
def test_train_refuses_an_output_before_it_trains(out, message, tmp_path, capsys):
    (tmp_path / "folder.keras").mkdir()
    arguments = ("--model", "none", "--data", "none", "--out", tmp_path / out)
    assert nested_keras_command("train", *arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:levels are not at their sparsities")  # where it stops
def test_train_reports_a_loss_that_is_nan(tmp_path, capsys):
    out = tmp_path / "nested.keras"
    out.write_bytes(b"earlier")
    arguments = (*train_arguments(tmp_path), "--epochs", 2, "--learning-rate", 1e30)
    assert nested_keras_command(*arguments) == 1
    assert "the loss must stay finite: got " in capsys.readouterr().err
    assert out.read_bytes() == b"earlier"
    assert not (tmp_path / "nested.training").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_goes_on(number, tmp_path, capsys, monkeypatch):
    """And ends as the uninterrupted one, bit for bit."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    keras.utils.set_random_seed(3)
    commands = [(*train_arguments(folder), "--epochs", 3) for folder in (whole, cut)]
    (cut / "base.keras").write_bytes((whole / "base.keras").read_bytes())
    assert nested_keras_command(*commands[0]) == 0

    begin = NestedPruning.on_epoch_begin

    def interrupt(self, epoch, logs=None):
        begin(self, epoch, logs)
        if epoch == 2:
            signal.raise_signal(number)

    # A shell's background job ignores SIGINT, and Python then leaves it so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(NestedPruning, "on_epoch_begin", interrupt)
            assert nested_keras_command(*commands[1]) == 128 + number
    finally:
        signal.signal(signal.SIGINT, before)
    text = capsys.readouterr().err.splitlines()[-1]
    assert f"{cut / 'nested.training'} keeps 2 epochs; give the same command again" in text
    assert nested_keras_command(*commands[1], "--seed", 5) == 1
    assert "with another seed: give the same to go on" in capsys.readouterr().err
    assert nested_keras_command(*commands[1]) == 0
    assert "Going on after 2 epochs" in capsys.readouterr().out
    assert not (cut / "nested.training").exists()
    models = [nested_keras.load_model(folder / "nested.keras") for folder in (whole, cut)]
    for want, got in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.fixture
def fits(monkeypatch):
    """The arguments of compile() and fit() of each training."""
    seen = []
    compile_, fit = NestedModel.compile, NestedModel.fit

    def spy_compile(self, optimizer, loss, **kwargs):
        self.seen = {"optimizer": optimizer, **kwargs}
        compile_(self, optimizer, loss, **kwargs)

    def spy_fit(self, x, **kwargs):
        seen.append({**self.seen, "x": x, **kwargs})
        return fit(self, x, **kwargs)

    monkeypatch.setattr(NestedModel, "compile", spy_compile)
    monkeypatch.setattr(NestedModel, "fit", spy_fit)
    return seen


def test_train_has_the_settings_of_the_recipe(tmp_path, fits):
    """Those of docs/training.md, and of the row `nested` of benchmarks/accuracy."""
    assert nested_keras_command(*train_arguments(tmp_path), "--epochs", 3) == 0
    (fit,) = fits
    assert fit["split_batch"] is True
    assert fit["routing"] == 0.5
    teacher = fit["distillation"].teacher
    assert teacher.layers[1].name == "conv2d" or teacher.name.startswith("functional")
    assert (fit["distillation"].weight, fit["distillation"].temperature) == (0.5, 2.0)
    # Two levels, batches of 20 for each: 48 samples give each level two steps an epoch.
    assert len(fit["x"]) == 2
    assert [len(fit["x"][i][0]) for i in range(2)] == [40, 40]
    rate = fit["optimizer"].learning_rate
    schedule = recipe.learning_rate_schedule(2e-3, steps=6, shares=2)
    config = fit["optimizer"].get_config()["learning_rate"]["config"]
    assert config == schedule.get_config()
    assert float(rate) == pytest.approx(0.0, abs=1e-9)  # at the last step
    pruning = next(each for each in fit["callbacks"] if isinstance(each, NestedPruning))
    assert pruning._shares == {"begin": 0.0, "end": 0.6, "frequency": None}


def test_a_file_of_train_holds_no_teacher(tmp_path):
    assert nested_keras_command(*train_arguments(tmp_path), "--epochs", 1) == 0
    nested_keras.load_model(tmp_path / "nested.keras")  # a warning would be an error


def test_train_without_a_teacher(tmp_path, fits):
    assert nested_keras_command(*train_arguments(tmp_path), "--epochs", 1, "--no-distill") == 0
    assert fits[0]["distillation"] is None
    assert fits[0]["routing"] == 1.0


def test_one_output_has_no_teacher(tmp_path, fits, capsys):
    labels = {name: np.arange(48) % 2 for name in ("y_train", "y_test")}
    command = train_arguments(tmp_path, keras.layers.Dense(1), **labels)
    assert nested_keras_command(*command, "--epochs", 1) == 0
    assert fits[0]["distillation"] is None
    assert nested_keras_command(*command, "--distill") == 1
    assert "--distill must have a model with two outputs or more" in capsys.readouterr().err


def test_augmentation_by_hand_and_by_measure(tmp_path, fits, capsys):
    # A mirrored image of one grey is the same image.
    grey = np.ones((48, 6, 6, 1)) * np.arange(48)[:, None, None, None] / 48
    command = (*train_arguments(tmp_path, x_test=grey), "--epochs", 1)
    for name, wanted in (
        ("both", Augmentation(shift=0.125, flip=True)),
        ("flip", Augmentation(flip=True)),
        ("none", None),
    ):
        assert nested_keras_command(*command, "--augment", name) == 0
        assert fits.pop()["x"]._augment == wanted
    capsys.readouterr()
    assert nested_keras_command(*command) == 0
    assert re.search(r"Augmentation: (shift, )?flip \(see --augment\)", capsys.readouterr().out)
    assert fits.pop()["x"]._augment.flip


def test_budget_exclude_and_rounding(tmp_path, fits, capsys):
    layers = [keras.layers.Dense(16, activation="relu", name="hidden"), keras.layers.Dense(3)]
    command = (*train_arguments(tmp_path, *layers), "--epochs", 1)
    budget = ("--budget", "bytes:330,620", "--exclude", "hidden", "--quantize-aware", 1)
    assert nested_keras_command(*command, *budget) == 0
    out = capsys.readouterr().out
    spent = re.search(r"Predicted bytes of the levels: (\d+), (\d+)", out)
    assert 300 < int(spent[1]) <= 330
    assert 590 < int(spent[2]) <= 620
    assert len(fits) == 2
    assert float(fits[1]["optimizer"].learning_rate) == pytest.approx(1e-4)
    model = nested_keras.load_model(tmp_path / "nested.keras")
    assert "hidden" not in {layer.name for layer in model.nested_layers}
    assert len(model.nested_layers) == 3
    assert model.quantization is not None
    assert nested_keras_command(*command, "--budget", "bytes:1,2") == 1
    assert "budgets" in capsys.readouterr().err
    assert nested_keras_command(*command, "--budget", "miles") == 2
    assert "expected cycles or bytes, alone or as bytes:20000,30000" in capsys.readouterr().err


def test_like_takes_the_sparsities_of_another_nested_model(tmp_path, capsys):
    layers = [keras.layers.Dense(16, activation="relu", name="hidden"), keras.layers.Dense(3)]
    command = (*train_arguments(tmp_path, *layers), "--epochs", 1)
    assert nested_keras_command(*command, "--budget", "bytes:330,620", "--exclude", "hidden") == 0
    other = (tmp_path / "nested.keras").rename(tmp_path / "other.keras")
    first = {each.name: each for each in nested_keras.load_model(other).nested_layers}
    for level, chosen in (("", slice(None)), (":0", slice(1)), (":1", slice(1, 2))):
        assert nested_keras_command(*command, "--like", f"{other}{level}") == 0
        model = nested_keras.load_model(tmp_path / "nested.keras")
        got = {each.name: tuple(each.sparsities) for each in model.nested_layers}
        assert got == {name: tuple(each.sparsities)[chosen] for name, each in first.items()}
        for index, kept in enumerate(range(*chosen.indices(2))):
            for each in model.nested_layers:
                assert each.kept_blocks(index) == first[each.name].kept_blocks(kept)
    capsys.readouterr()
    for wrong, text in (
        (("--like", f"{other}:2"), "level"),
        (("--like", other, "--exclude", "hidden"), "--like must go without --exclude"),
        (("--like", tmp_path / "base.keras"), "--like must name a nested model"),
        (("--like", tmp_path / "none.keras"), "none.keras"),
    ):
        assert nested_keras_command(*command, *wrong) == 1
        assert text in capsys.readouterr().err


def test_a_run_folder_stays(tmp_path, capsys):
    command = (*train_arguments(tmp_path), "--epochs", 1, "--run", tmp_path / "runs" / "one")
    assert nested_keras_command(*command) == 0
    names = {path.name for path in (tmp_path / "runs" / "one").iterdir()}
    record = {"config.json", "environment.json", "history.csv", "final.json"}
    assert names == {*record, "arguments.json", "finished"}
    assert not (tmp_path / "nested.training").exists()
    assert nested_keras_command(*command) == 1
    assert "keeps the record of a finished training" in capsys.readouterr().err


def test_train_is_quiet(tmp_path, capsys):
    assert nested_keras_command(*train_arguments(tmp_path), "--epochs", 1, "--quiet") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0].split() == ["level", "sparsity", "accuracy"]
    assert len(captured.out.splitlines()) == 4
    assert captured.err == ""
