"""Runs the notebooks in order on tiny settings: each goes on with the files of the last.

One kernel serves them all, because each new one would import TensorFlow again.
"""

import os
from pathlib import Path

import nbclient
import nbformat
import pytest
from jupyter_client.manager import KernelManager

from scripts import run_notebooks

pytestmark = [pytest.mark.slow, pytest.mark.arm]

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
TINY = {
    "01_nest_and_train.ipynb": "WIDTH, DENSE_EPOCHS, NESTED_EPOCHS = 0.25, 1, 2\n"
    "SPARSITIES = (0.9, 0.8, 0.7)",
    "02_export_and_inspect.ipynb": "CALIBRATION_IMAGES, TEST_IMAGES = 50, 20",
    "03_run_on_the_emulated_board.ipynb": "DEVICE_IMAGES = 2",
    "04_choose_levels.ipynb": "EPOCHS, CANDIDATES = 1, (0.9, 0.5)",
    "05_find_objects.ipynb": "IMAGES, TEST_IMAGES, DENSE_EPOCHS, NESTED_EPOCHS = 96, 4, 1, 2\n"
    "DEVICE_IMAGES, BOARD_IMAGES = 2, 1",
}
# Before the settings, in each notebook.
FEW = """%reset -f
from nested_keras import datasets
from tests import few_digits

datasets.digits = few_digits.digits
"""
# What the reader is meant to see, notebook by notebook.
SHOWN = {
    "01_nest_and_train.ipynb": ["0.90", "0.80", "0.70"],
    "02_export_and_inspect.ipynb": ["nested, 3 levels", "level 2: digit", "3 levels:"],
    "03_run_on_the_emulated_board.ipynb": ["#define MODEL_LEVELS 3", "whole inference"],
    "04_choose_levels.ipynb": ["speed-up", "fewer cycles than the dense model: 90%"],
    "05_find_objects.ipynb": ["mAP@0.5", "level 2:", "instructions, 0 mismatches"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def kernel(folder):
    """The kernel, which the first notebook starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
        paths = [str(NOTEBOOKS.parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(cwd=str(folder))
    yield manager
    manager.shutdown_kernel(now=True)


def test_every_notebook_is_run():
    assert sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")) == sorted(TINY)


@pytest.mark.parametrize("name", sorted(TINY))
def test_notebook_runs(name, kernel):
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    assert len(tagged) == 1
    tagged[0].source = FEW + TINY[name]
    client = nbclient.NotebookClient(notebook, km=kernel, timeout=300)
    client.execute(cleanup_kc=False)
    client.kc.stop_channels()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    text = "".join(output.get("text", "") for output in outputs)
    for expected in SHOWN[name]:
        assert expected in text


@pytest.mark.parametrize("name", sorted(TINY))
def test_the_outputs_are_clean(name):
    """As `make notebooks` leaves them."""
    text = (NOTEBOOKS / name).read_text()
    notebook = nbformat.reads(text, as_version=4)
    run_notebooks.clean(notebook)
    assert nbformat.writes(notebook) + "\n" == text
