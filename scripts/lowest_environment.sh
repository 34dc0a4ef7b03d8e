#!/usr/bin/env bash
# Makes a virtual environment with the lowest version of every package that pyproject.toml names, on
# Python 3.10, the oldest that it names. Where there is no Python 3.10, the given Python takes its
# place.
#
#     scripts/lowest_environment.sh FOLDER PYTHON
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
python=$2

oldest=
for candidate in python3.10 "$HOME"/.pyenv/versions/3.10*/bin/python; do
  # A shim of pyenv is there even where its Python is not: so ask.
  if version=$("$candidate" -c 'import ensurepip, platform, venv; print(platform.python_version())' 2>/dev/null); then
    oldest=$candidate
    break
  fi
done
if [ -n "$oldest" ]; then
  echo "Lowest versions: on Python $version ($oldest)"
else
  echo "Lowest versions: no Python 3.10 found; on $("$python" --version) ($python) in its place"
  oldest=$python
fi

"$oldest" -m venv --clear "$folder"
"$folder/bin/python" -m pip install --quiet uv
# The packages that pyproject.toml names at their lowest versions, what those stand on at its newest.
"$folder/bin/uv" pip install --python "$folder/bin/python" --resolution lowest-direct -e '.[dev]'
