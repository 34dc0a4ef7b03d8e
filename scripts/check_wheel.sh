#!/usr/bin/env bash
# Installs a wheel without extras in a new environment, and runs a model with nothing else.
#
# Usage: scripts/check_wheel.sh PYTHON WHEEL
# PYTHON has Keras and TensorFlow: it exports the model.
set -euo pipefail
python=$1
wheel=$(realpath "$2")

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" - "$folder" <<'END'
import sys
from pathlib import Path

import keras
import numpy as np

import nested_keras

keras.utils.set_random_seed(0)
base = keras.Sequential([
    keras.Input((8, 8, 1)),
    keras.layers.Conv2D(8, 3, activation="relu"),
    keras.layers.Conv2D(8, 3, activation="relu"),
    keras.layers.GlobalAveragePooling2D(),
    keras.layers.Dense(4, activation="softmax"),
])
model = nested_keras.nest(base, (0.9, 0.5))
model.prune()
x = np.random.default_rng(0).random((16, 8, 8, 1), np.float32)
out = Path(sys.argv[1])
(out / "model.tflite").write_bytes(nested_keras.export.to_tflite(model, representative_dataset=x))
np.savez(out / "data.npz", x_test=x)
END

"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "$wheel"
cd "$folder"
for package in keras tensorflow; do
  if venv/bin/python -c "import $package" 2>/dev/null; then
    echo "expected a wheel that runs models without $package: it was installed" >&2
    exit 1
  fi
done
venv/bin/nested-keras inspect model.tflite
for target in reference litert host; do
  venv/bin/nested-keras run model.tflite --target "$target" --data data.npz
done
venv/bin/nested-keras codegen model.tflite --out c
venv/bin/nested-keras strip model.tflite --levels 1 --out smaller.tflite
echo "The wheel $(basename "$wheel") works on its own."
