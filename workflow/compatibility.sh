#!/usr/bin/env bash
# Does the light package work with the oldest torch it admits, and the newest there is? `make compatibility`
#
# Each gets an environment of its own in .venv-compatibility/, with torch, numpy and pytest and without numba, and the tests
# of what such an installation offers. Takes 6 GB and some minutes for each; nothing is kept of one that passed.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
PLACE=$PWD/.venv-compatibility
TESTS="tests/test_blackbox.py tests/test_blackbox_*.py tests/test_gradients.py tests/test_conformance.py tests/test_ranks.py"

oldest() { # what pyproject.toml admits
  sed -n 's/^ *"torch>=\([0-9.]*\)",$/\1/p' pyproject.toml | head -n 1
}

try() { # a requirement for torch
  echo "compatibility: torch$1"
  rm -rf "$PLACE"
  "$PYTHON" -m venv "$PLACE"
  "$PLACE/bin/python" -m pip install --quiet --no-compile "torch$1" numpy pytest scipy .
  "$PLACE/bin/python" -c 'import torch; print("compatibility: it is", torch.__version__)'
  # esgrad is the installed one: the tests are copied away from src/
  cp -r tests "$PLACE/tests"
  (cd "$PLACE" && bin/python -m pytest -q -p no:cacheprovider --import-mode=importlib $TESTS)
  rm -rf "$PLACE"
}

try "==$(oldest).*"
try ""
