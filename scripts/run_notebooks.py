"""Runs the notebooks in order and writes their outputs into them: `make notebooks`.

TensorFlow's notes on stderr and the times of execution are left out, so that a run with the same
results changes nothing but the plots.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"


def clean(notebook: Any) -> None:
    """Leaves in a notebook what a reader is meant to see."""
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        kept: list[Any] = []
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                continue
            if kept and output.output_type == kept[-1].output_type == "stream":
                kept[-1].text += output.text
            else:
                kept.append(output)
        cell.outputs = kept


def main() -> None:
    """Runs and rewrites all notebooks; each goes on with the files of the last."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        sys.stdout.write(f"{path.name}\n")
        notebook = nbformat.read(path, as_version=4)
        resources = {"metadata": {"path": str(FOLDER)}}
        nbclient.NotebookClient(
            notebook, timeout=None, kernel_name="python3", resources=resources
        ).execute()
        clean(notebook)
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
