#!/usr/bin/env bash
# setup-venv.sh base|cuda-compiler|cuda-libs|test ...: makes .venv and installs the pinned wheels of
# requirements-<set>.txt into it. A set whose list has not changed since it was installed costs nothing. Whatever an
# interrupted run left half-made is found (check_venv.py) and installed again.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
find_python() {
  local python
  for python in ${TETRAD_PYTHON:-python3 /usr/bin/python3}; do
    if usable "$python"; then echo "$python"; return; fi
  done
  die "no Python 3.11 or newer with the venv module found (${TETRAD_PYTHON:-python3, /usr/bin/python3}); set TETRAD_PYTHON"
}

if [ -e "$venv" ] && ! "$venv/bin/python" -c 'import pip' >/dev/null 2>&1; then
  say ".venv is broken or half-made: making it again"
  [ -L "$venv" ] && die ".venv is a symbolic link whose target does not work: $(readlink "$venv")"
  rm -rf "$venv"
fi
if [ ! -e "$venv" ]; then
  python=$(find_python)
  say "Making .venv with $("$python" --version)"
  "$python" -m venv "$venv"
fi

stamps="$venv/.tetrad"
lists=()
for set in "$@"; do
  list="$root/scripts/requirements-$set.txt"
  [ -f "$list" ] || die "unknown requirement set '$set'"
  [ "$(cat "$stamps/$set" 2>/dev/null || true)" = "$(sha256sum <"$list")" ] || lists+=("$set")
done
[ ${#lists[@]} -gt 0 ] || exit 0

# What pip had set aside when it was interrupted.
rm -rf "$venv"/lib/python3*/site-packages/~*
check() { "$venv/bin/python" "$root/scripts/check_venv.py" "$root/scripts/requirements-$1.txt"; }
for set in "${lists[@]}"; do
  mapfile -t broken < <(check "$set")
  if [ ${#broken[@]} -gt 0 ]; then
    say "Installing ${#broken[@]} Python packages into .venv ($set)"
    # --force-reinstall replaces what an interrupted installation left behind under the right version number.
    "$venv/bin/python" -m pip install --no-deps --force-reinstall --only-binary=:all: --no-input --no-compile \
      --disable-pip-version-check --retries 5 -q "${broken[@]}" >&2 ||
      die "pip could not install the packages of scripts/requirements-$set.txt; its message stands above. Run make again to resume"
    mapfile -t broken < <(check "$set")
    [ ${#broken[@]} -eq 0 ] || die "these packages are still incomplete in .venv after installing them: ${broken[*]}"
  fi
  mkdir -p "$stamps"
  sha256sum <"$root/scripts/requirements-$set.txt" >"$stamps/$set"
done
