#!/usr/bin/env bash
# build.sh app|test: configures build/ and builds it.
#   app   the program and its plugins; the CUDA half too, for this machine's GPU alone, where there is one
#   test  everything, tests and CUDA (90a, 120a and this machine's GPU) included
# Both use the same tree: `app` after `test` keeps what `test` configured, and builds less of it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
mode=${1:?build.sh app|test}
build="$root/build"
cmake="$venv/bin/cmake"
archs=$("$root/scripts/detect-gpu.sh")
cached() { sed -n "s/^$1:[A-Z]*=//p" "$build/CMakeCache.txt" 2>/dev/null || true; }

options=(-G Ninja)
case "$mode" in
  app)
    target=(--target tetrad)
    [ -n "$(cached TETRAD_TESTS)" ] || options+=(-DTETRAD_TESTS=OFF)
    if [ -n "$archs" ] && [ "$(cached TETRAD_CUDA)" != ON ]; then
      options+=(-DTETRAD_CUDA=ON "-DTETRAD_CUDA_ARCHS=$archs")
    fi
    ;;
  test)
    target=()
    for arch in 90a-real 120a-real; do
      case ";$archs;" in *";$arch;"*) ;; *) archs="${archs:+$archs;}$arch" ;; esac
    done
    options+=(-DTETRAD_TESTS=ON -DTETRAD_CUDA=ON "-DTETRAD_CUDA_ARCHS=$archs")
    ;;
  *) die "build.sh: unknown mode '$mode' (app, test)" ;;
esac

# A file that includes ATen takes up to 2 GB to compile; ninja's default would take all cores whatever the memory.
jobs=$(awk -v cores="$(nproc)" '/^MemAvailable/ {j = int($2 / 2e6); if (j > cores) j = cores; if (j < 1) j = 1; print j}' /proc/meminfo)

# CMake cannot change the compiler or a moved source tree in place; nothing in build/ is worth keeping then.
home=$(cached CMAKE_HOME_DIRECTORY)
if [ -n "$home" ] && [ "$home" != "$root" ]; then
  say "build/ belongs to $home: starting it anew"
  rm -rf "$build"
fi
say "Configuring build/ ($mode)"
"$cmake" -S "$root" -B "$build" "${options[@]}" --log-level=NOTICE >&2 ||
  die "configuring failed; CMake's message stands above"
say "Building with $jobs jobs"
"$cmake" --build "$build" -j "$jobs" ${target[@]+"${target[@]}"} >&2 ||
  die "the build failed; the compiler's message stands above"
