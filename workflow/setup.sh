#!/usr/bin/env bash
# Set-up: makes .venv and installs requirements.lock and esgrad into it. Where that is done already it does nothing.
#
#   make setup                          the first of python3, python3.14 ... python3.11 that will do
#   make setup PYTHON=/path/to/python   this one
#
# Every refusal is one line. A set-up that was cut off leaves no stamp, and the next call starts afresh.
# Works with bash 3.2 and BSD tools, as macOS has them.
set -euo pipefail
cd -P "$(dirname "$0")/.."

VENV=.venv
STAMP=$VENV/.installed          # what was installed, written last
UNFINISHED=$VENV/.unfinished    # there while an installation of ours is under way
LOG=$VENV/setup.log
PYTHONS="3.11 3.12 3.13 3.14"   # those the lock has wheels for
SIZE="6.4 GB"                   # of .venv when all is installed
NEEDED=10485760                 # KiB: .venv and, while it is filled, the downloads beside it: 10 GB
CACHE=3355443                   # KiB that pip keeps of the downloads, where there is room for them: 3.2 GB

say() { printf 'set-up: %s\n' "$*"; }

refuse() {
  printf 'set-up: %s\n' "$*" >&2
  exit 1
}

version() { # a Python -> "3.12", or nothing where it does not run
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

suits() { # a version
  case " $PYTHONS " in *" $1 "*) [ -n "$1" ] ;; *) false ;; esac
}

wanted() { # what the stamp says when all is installed: the place and the digests of what was asked for
  printf '%s\n' "$PWD" "$(cksum <requirements.lock)" "$(cksum <pyproject.toml)"
}

installed() {
  [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(wanted)" ] && [ -n "$(version $VENV/bin/python)" ]
}

usable() { # an environment to install into: not cut off, its Python runs, and it was not moved here from elsewhere
  [ ! -e "$UNFINISHED" ] && [ -n "$(version $VENV/bin/python)" ] &&
    { [ ! -f "$STAMP" ] || [ "$(head -n 1 "$STAMP")" = "$PWD" ]; }
}

check_whose() { # an environment that another checkout uses through a link, or lends to this one, is not emptied
  local other=
  [ ! -f "$STAMP" ] || other=$(head -n 1 "$STAMP")
  [ -z "$other" ] || [ "$other" = "$PWD" ] || ! [ "$other/$VENV" -ef $VENV ] ||
    refuse "$PWD/$VENV is the environment of $other; remove it here ('rm $VENV', where it is a link) and call again," \
      "and this checkout gets one of its own"
}

choose_python() { # sets PYTHON and VERSION
  local candidate found="" candidates=(python3 python3.14 python3.13 python3.12 python3.11)
  [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    VERSION=$(version "$candidate")
    if suits "$VERSION"; then
      PYTHON=$candidate
      return
    fi
    [ -z "$VERSION" ] || found="$found${found:+, }$candidate is $VERSION"
  done
  refuse "Python 3.11 to 3.14 is needed, but ${found:-${PYTHON:-python3} does not run here};" \
    "install one, or name it: make setup PYTHON=/path/to/python3.13"
}

check_venv_module() {
  "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
    refuse "$PYTHON (Python $VERSION) lacks the modules venv and ensurepip;" \
      "on Debian and Ubuntu 'apt install python$VERSION-venv' brings them"
}

check_disk() {
  local place=. free
  [ ! -d $VENV ] || place=$VENV/ # it may be a link to a larger disk
  free=$(df -Pk $place 2>/dev/null | awk 'NR == 2 { print $4 }')
  case $free in '' | *[!0-9]*) return ;; esac # a df that cannot say is no reason to stop
  [ "$free" -ge $NEEDED ] ||
    refuse "$((free / 1048576)) GB are free in $PWD, but the set-up takes $SIZE, and $((NEEDED / 1048576)) GB" \
      "while it installs; make room, or link .venv to a folder on a larger disk"
  [ "$free" -ge $((NEEDED + CACHE)) ] || export PIP_NO_CACHE_DIR=1
}

create() {
  check_whose
  choose_python
  check_venv_module
  check_disk
  say "making $VENV with Python $VERSION"
  { mkdir -p $VENV && [ -w $VENV/ ]; } 2>/dev/null || refuse "cannot write $PWD/$VENV: no permission?"
  find $VENV/ -mindepth 1 -delete # not the folder itself: it may be a link
  : >$UNFINISHED
  "$PYTHON" -m venv $VENV >$LOG 2>&1 || refuse "$PYTHON -m venv failed: $(tail -n 1 $LOG) (log: $LOG)"
}

check_existing() { # an environment that somebody else may have made
  VERSION=$(version $VENV/bin/python)
  suits "$VERSION" || refuse "$VENV holds Python $VERSION, but 3.11 to 3.14 is needed; remove $VENV and call again"
  $VENV/bin/python -m pip --version >/dev/null 2>&1 ||
    refuse "$VENV has no pip (made by another tool?); remove $VENV and call again"
}

progress() { # pip's output -> a line for each thing that takes long
  local line pattern='Downloading ([A-Za-z0-9_]+-[0-9.]*[0-9]).* \(([0-9]{3,})[.0-9]* MB\)'
  while IFS= read -r line; do
    if [[ $line =~ $pattern ]]; then
      say "  downloading ${BASH_REMATCH[1]}, ${BASH_REMATCH[2]} MB"
    elif [[ $line == "Installing collected packages:"*,* ]]; then
      say "  unpacking, about a minute"
    fi
  done
}

pip_install() {
  # not compiled: most of the files are never imported; `precompile` compiles those that are
  TMPDIR=$PWD/$VENV/tmp $VENV/bin/python -m pip install --no-compile --no-input --disable-pip-version-check \
    --progress-bar off "$@" 2>&1 | tee -a $LOG | progress || explain
}

explain() { # why pip failed, in a line
  local why
  if grep -qE 'No space left on device|Errno 28' $LOG; then
    why="the disk is full: the set-up takes $SIZE"
  elif grep -qE 'NewConnectionError|NameResolutionError|Max retries exceeded|Connection(Reset)?Error|onnection broken|Network is unreachable|(Connect|Read) ?[Tt]ime(out|d out)|ProxyError|SSLError' $LOG; then
    why="pip cannot reach its package index: no network, or a proxy or a certificate in the way"
  elif grep -qE 'No matching distribution' $LOG; then
    why="no build for this system ($(uname -sm)): $(grep -E 'No matching distribution' $LOG | tail -n 1); Linux and macOS 14 or newer on Apple silicon will do"
  else
    why="pip failed: $({ grep -E '^ERROR' $LOG || cat $LOG; } | tail -n 1)" # ended from outside it says no error
  fi
  refuse "$why (log: $LOG); call again when that is mended"
}

packages() { # how many the lock names for other systems than Windows
  awk -F == '/^[a-z]/ && !/; sys_platform == .win32.$/ && !seen[$1]++ { count++ } END { print count }' requirements.lock
}

precompile() { # or each process would, where PYTHONDONTWRITEBYTECODE is set; what fails here is compiled later
  PYTHONDONTWRITEBYTECODE='' $VENV/bin/python workflow/precompile.py >>$LOG 2>&1 || true
}

install() {
  local start=$SECONDS
  rm -f $STAMP
  mkdir -p $VENV/tmp
  pip_install -r requirements.lock
  pip_install --no-deps --no-build-isolation --editable . # setuptools comes from the lock
  precompile
  rm -rf $VENV/tmp $UNFINISHED
  wanted >$STAMP.new
  mv $STAMP.new $STAMP
  say "done in $((SECONDS - start)) s"
}

if installed; then exit 0; fi
if usable; then
  check_existing
  say "bringing $VENV up to date with requirements.lock and pyproject.toml (log: $LOG)"
else
  create
  say "installing $(packages) packages, $SIZE, about two minutes (log: $LOG)"
fi
install
