#!/usr/bin/env bash
# Does esgrad install from nothing, and work? `make compatibility`
#
#   light   torch, numpy and esgrad alone: with the oldest torch it admits, and with the newest there is; the tests of
#           what such an installation offers
#   whole   environment.yml, by micromamba, mamba or conda, or its pip list where there is none of them; the smoke suite
#
# Each gets an environment of its own in .venv-compatibility/, and says what it takes. 6 GB and some minutes for each;
# nothing is kept of one that passed.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
PLACE=$PWD/.venv-compatibility
TESTS="tests/test_blackbox.py tests/test_blackbox_*.py tests/test_gradients.py tests/test_conformance.py tests/test_ranks.py"

say() { printf 'compatibility: %s\n' "$*"; }

oldest() { # what pyproject.toml admits
  sed -n 's/^ *"torch>=\([0-9.]*\)",$/\1/p' pyproject.toml | head -n 1
}

copy() { # what the tests and the workflow need, so that esgrad is the installed one and nothing here changes
  mkdir -p "$PLACE/copy"
  cp -r "$@" "$PLACE/copy"
  cd "$PLACE/copy"
}

taken() { # since a second, what an installation took
  say "$(($SECONDS - $1)) s, $(du -sh "$PLACE" | cut -f 1), $("$2" -m pip list --format freeze | wc -l) packages"
}

light() { # a requirement for torch
  local start=$SECONDS
  say "light, torch$1"
  rm -rf "$PLACE"
  "$PYTHON" -m venv "$PLACE"
  "$PLACE/bin/python" -m pip install --quiet --no-compile "torch$1" .
  taken "$start" "$PLACE/bin/python"
  "$PLACE/bin/python" -c 'import torch; print("compatibility: it is torch", torch.__version__)'
  "$PLACE/bin/python" -m pip install --quiet --no-compile pytest scipy # for the tests alone
  (copy tests && "$PLACE/bin/python" -m pytest -c /dev/null --rootdir . -q -p no:cacheprovider --import-mode=importlib $TESTS)
  rm -rf "$PLACE"
}

whole() {
  local start=$SECONDS conda="" candidate
  for candidate in micromamba mamba conda; do
    if [ -z "$conda" ] && command -v "$candidate" >/dev/null; then conda=$candidate; fi
  done
  say "whole, by ${conda:-pip}"
  rm -rf "$PLACE"
  if [ -n "$conda" ]; then
    "$conda" env create --yes --quiet --prefix "$PLACE" --file environment.yml
  else
    "$PYTHON" -m venv "$PLACE"
    # the lines under "- pip:", options of pip each
    sed -n '/- pip:/,$s/^ *- \(-[a-z] .*\)$/\1/p' environment.yml | xargs "$PLACE/bin/python" -m pip install --quiet
  fi
  taken "$start" "$PLACE/bin/python"
  (copy Snakefile workflow config src && PATH="$PLACE/bin:$PATH" snakemake --cores all --quiet all --configfile config/smoke.yaml)
  say "the smoke suite's report: $(du -h "$PLACE/copy/results/smoke/report.html" | cut -f 1)"
  rm -rf "$PLACE"
}

for each in "${@:-all}"; do
  case $each in
    oldest) light "==$(oldest).*" ;;
    newest) light "" ;;
    whole) whole ;;
    all)
      light "==$(oldest).*"
      light ""
      whole
      ;;
    *)
      echo "compatibility: '$each' is not oldest, newest or whole" >&2
      exit 2
      ;;
  esac
done
