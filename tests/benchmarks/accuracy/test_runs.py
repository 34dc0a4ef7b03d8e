"""Run directories and training that is killed."""

import csv
import json
import shutil

import keras
import numpy as np
import pytest

from benchmarks.accuracy import fitting, recipe, runs
from nested_keras import nest
from tests.benchmarks.accuracy.networks import tiny
from tests.benchmarks.accuracy.test_data import images

RECIPE = recipe.Recipe(network="tiny", batch_size=16, policy="float32", mask_frequency=1)
EPOCHS = 3


def test_a_run_directory_says_what_was_run_and_on_what(tmp_path):
    run = runs.open_run(tmp_path, "nested", recipe=RECIPE)
    assert run.folder == tmp_path / "tiny-1-seed0" / "nested"
    assert json.loads((run.folder / "config.json").read_text()) == RECIPE.to_dict()
    assert "keras" in json.loads((run.folder / "environment.json").read_text())
    assert runs.open_run(tmp_path, "nested", recipe=RECIPE) == run


def test_a_run_directory_refuses_another_recipe(tmp_path):
    runs.open_run(tmp_path, "nested", recipe=RECIPE)
    other = recipe.Recipe(**{**vars(RECIPE), "epochs": 7})
    with pytest.raises(ValueError, match=r"another recipe: expected \{'epochs': 20\}, got .*7"):
        runs.open_run(tmp_path, "nested", recipe=other)


def test_one_dense_model_serves_several_recipes(tmp_path):
    runs.open_run(tmp_path, "dense", recipe=RECIPE)
    runs.open_run(tmp_path, "dense", recipe=recipe.Recipe(**{**vars(RECIPE), "epochs": 7}))
    other = recipe.Recipe(**{**vars(RECIPE), "dense_epochs": 7})
    with pytest.raises(ValueError, match=r"another recipe: expected \{'dense_epochs': 40\}"):
        runs.open_run(tmp_path, "dense", recipe=other)


def test_seconds_count_an_epoch_that_was_repeated_once(tmp_path):
    run = runs.Run(tmp_path)
    assert run.seconds() == 0.0
    run.history.write_text("epoch,loss,seconds\n0,1,2.0\n1,1,3.0\n1,1,4.5\n")
    assert run.seconds() == 6.5


@pytest.fixture(autouse=True)
def network(monkeypatch):
    monkeypatch.setitem(recipe.NETWORKS, "tiny", tiny)


def train(folder):
    """Trains three epochs of three steps; returns the weights."""
    keras.utils.set_random_seed(0)
    data = images(size=8)
    model = nest(recipe.build(RECIPE, data), (0.8, 0.5))
    schedule = recipe.pruning_schedule(0.8, recipe=RECIPE, steps=EPOCHS * 3)
    folder.mkdir(exist_ok=True)
    run = runs.Run(folder)
    fitting.train(
        model, data, recipe=RECIPE, run=run, epochs=EPOCHS, schedule=schedule, routing=0.5
    )
    return {weight.path: weight.numpy() for weight in model.weights}


class Killed(BaseException):
    pass


@pytest.mark.slow
def test_training_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    expected = train(tmp_path / "whole")
    assert not (tmp_path / "whole" / "backup").exists()
    folder = tmp_path / "killed"

    def killed(owner, method, replacement):
        with monkeypatch.context() as patch:
            patch.setattr(owner, method, replacement)
            with pytest.raises(Killed):
                train(folder)

    def in_epoch(number):
        def on_train_batch_begin(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 3 * number + 2:
                self.csv_file.close()
                raise Killed

        return on_train_batch_begin

    save = keras.Model.save_weights

    def save_weights(self, filepath, **kwargs):
        if "trained" in str(filepath):
            raise Killed
        save(self, filepath, **kwargs)

    killed(keras.callbacks.CSVLogger, "on_train_batch_begin", in_epoch(1))
    killed(keras.callbacks.CSVLogger, "on_train_batch_begin", in_epoch(2))
    killed(keras.Model, "save_weights", save_weights)  # all epochs done, nothing saved
    assert not (folder / "trained.weights.h5").exists()

    resumed = train(folder)
    for path, weight in expected.items():
        if "level_map" in path:
            np.testing.assert_array_equal(resumed[path], weight, path)
        else:
            np.testing.assert_allclose(resumed[path], weight, atol=1e-5, err_msg=path)
    with (folder / "history.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2"]

    shutil.rmtree(folder / "backup", ignore_errors=True)
    for path, weight in train(folder).items():  # now it only loads
        np.testing.assert_array_equal(weight, resumed[path], path)
