import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from nested_keras import runs
from tests.nested_keras import long_runs, nets

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.nested_keras.long_runs", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output[-4000:]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return long_runs.train_resumable(folder), folder


# At step 10 the masks still move, at 13 they freeze, and after 14 they are frozen.
@pytest.mark.parametrize("step", [10, 14])
def test_a_killed_run_resumes_bit_for_bit(tmp_path, whole, step):
    process = start("resumable", tmp_path, step)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, output[-4000:]
    with (tmp_path / "history.csv").open() as file:
        assert len(list(csv.DictReader(file))) == step // 4
    assert not (tmp_path / "final.json").exists()
    resumed = long_runs.train_resumable(tmp_path)
    nested, folder = whole
    assert int(resumed.optimizer.iterations.numpy()) == 20
    for mine, theirs in zip(resumed.variables, nested.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs, err_msg=mine.path)
    for mine, theirs in zip(resumed.optimizer.variables, nested.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs, err_msg=mine.path)
    for name in ("history.csv", "final.json"):
        assert (tmp_path / name).read_text() == (folder / name).read_text()


def test_run_directory_records_the_run(whole):
    nested, folder = whole
    config = json.loads((folder / "config.json").read_text())
    assert config["sparsities"] == [0.75, 0.5, 0.25]
    assert config["layers"] == {"hidden": [0.75, 0.5, 0.25]}
    assert config["user"] == {"seed": 3}
    assert config["fit"]["epochs"] == 5
    assert config["compile"]["sandwich"] is True
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["numpy"] == np.__version__
    assert environment["devices"]
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert {"loss", "level_0_accuracy", "val_level_2_loss"} <= set(rows[0])
    assert float(rows[-1]["level_0_sparsity"]) == nested.level_sparsity(0)
    final = json.loads((folder / "final.json").read_text())
    assert final == nested.evaluate_levels(*long_runs.images())
    assert [row["level"] for row in final] == [0, 1, 2]
    assert not list(folder.glob("*.new"))


def test_metrics_of_several_values_are_recorded(tmp_path):
    nested = long_runs.compiled()
    nested.prune()
    nested.compile("adam", "categorical_crossentropy", metrics=[keras.metrics.F1Score(name="f1")])
    x, y = nets.images(8), np.eye(3)[np.arange(8) % 3]
    keras_log = keras.callbacks.CSVLogger(tmp_path / "keras.csv")
    record = runs.RunDirectory(tmp_path, data=(x, y))
    logs = nested.fit(x, y, epochs=2, verbose=0, callbacks=[keras_log, record]).history
    with (tmp_path / "history.csv").open() as mine, (tmp_path / "keras.csv").open() as theirs:
        rows = list(csv.DictReader(mine))
        for row, wanted in zip(rows, csv.DictReader(theirs), strict=True):
            assert row["level_0_f1"] == wanted["level_0_f1"]
    values = json.loads(rows[1]["level_2_f1"].strip('"'))
    np.testing.assert_allclose(values, logs["level_2_f1"][1], rtol=1e-5)
    final = json.loads((tmp_path / "final.json").read_text())
    assert len(final[0]["f1"]) == 3


def test_tensorboard_has_scalars_of_every_level(tmp_path):
    pytest.importorskip("tensorboard")
    nested = long_runs.compiled()
    x, y = long_runs.images(8)
    nested.prune()
    board = keras.callbacks.TensorBoard(tmp_path, write_graph=False)
    nested.fit(x, y, batch_size=8, validation_data=(x, y), verbose=0, callbacks=[board])
    for part in ("train", "validation"):
        (path,) = (tmp_path / part).glob("events*")
        tags = {
            value.tag
            for event in tf.compat.v1.train.summary_iterator(str(path))
            for value in event.summary.value
        }
        kinds = ("loss", "accuracy", *(["sparsity"] if part == "train" else []))
        names = [f"level_{level}_{kind}" for level in range(3) for kind in kinds]
        assert {f"epoch_{name}" for name in names} <= tags


def test_history_drops_rows_of_epochs_that_run_again(tmp_path, whole):
    shutil.copy(whole[1] / "history.csv", tmp_path)
    record = runs.RunDirectory(tmp_path, data=None)
    record.on_epoch_end(3, {"loss": 0.5})
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert (rows[-1]["loss"], rows[-1]["level_0_loss"]) == ("0.5", "")


def test_order_depends_on_seed_and_epoch_alone():
    nested = long_runs.compiled()
    x, y = np.arange(10)[:, None] * 1.0, np.arange(10)

    def order(epoch, **kwargs):
        nested.optimizer.iterations.assign(epoch * 3)
        data = runs.EpochShuffled(nested, x, y, batch_size=3, **{"seed": 1, **kwargs})
        assert len(data) == 3
        batches = [data[index] for index in range(3)]
        for inputs, targets in batches:
            np.testing.assert_array_equal(inputs[:, 0].astype(int), targets)
        return [int(value) for _, targets in batches for value in targets]

    assert order(0) == order(0)
    assert len(set(order(0))) == 9
    assert order(0) != order(1)
    assert order(0) != order(0, seed=2)
    noisy = [
        runs.EpochShuffled(nested, x, y, batch_size=5, augment=lambda x, rng: x + rng.random())
        for _ in range(2)
    ]
    np.testing.assert_array_equal(noisy[0][1][0], noisy[1][1][0])
    assert noisy[0][1][0][0, 0] % 1 != noisy[0][0][0][0, 0] % 1
    whole = runs.EpochShuffled(nested, x, y, batch_size=3, drop_remainder=False)
    assert [len(whole[index][1]) for index in range(len(whole))] == [3, 3, 3, 1]
    assert len({int(value) for index in range(4) for value in whole[index][1]}) == 10
    with pytest.raises(ValueError, match=r"batch_size must be in 1..10: got 11"):
        runs.EpochShuffled(nested, x, y, batch_size=11)


def test_an_epoch_of_several_passes():
    nested = long_runs.compiled()
    x, y = np.arange(10)[:, None] * 1.0, np.arange(10)
    data = runs.EpochShuffled(nested, x, y, batch_size=12, passes=3)
    assert len(data) == 2
    seen = np.concatenate([data[index][1] for index in range(2)])
    assert sorted(seen[:10]) == sorted(seen[10:20]) == list(range(10))
    assert list(seen[:10]) != list(seen[10:20])
    with pytest.raises(ValueError, match=r"batch_size must be in 1..30: got 31"):
        runs.EpochShuffled(nested, x, y, batch_size=31, passes=3)
    with pytest.raises(ValueError, match=r"passes must be at least 1: got 0"):
        runs.EpochShuffled(nested, x, y, batch_size=1, passes=0)


def test_two_workers_and_two_devices_give_the_same_masks(tmp_path):
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            ports.append(probe.getsockname()[1])
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    processes = [start("distributed", "mirrored", tmp_path / "mirrored.npz")]
    for index in range(2):
        task = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        out = tmp_path / f"worker{index}.npz"
        processes.append(start("distributed", "workers", out, TF_CONFIG=task))
    try:
        for process in processes:
            finish(process)
    finally:
        for process in processes:
            process.kill()
    mirrored, *workers = (
        np.load(tmp_path / f"{name}.npz") for name in ("mirrored", "worker0", "worker1")
    )
    assert set(mirrored) == set(workers[0]) == set(workers[1])
    assert mirrored["level_map/hidden"].max() == 3
    for name in mirrored:
        np.testing.assert_array_equal(workers[0][name], workers[1][name], err_msg=name)
        np.testing.assert_allclose(mirrored[name], workers[0][name], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(mirrored["level_map/hidden"], workers[0]["level_map/hidden"])
