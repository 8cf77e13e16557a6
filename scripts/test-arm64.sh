#!/usr/bin/env bash
# test-arm64.sh: cross-compiles the rooms that need no libtorch (tetrad_base, tetrad_nvfp4) for arm64 with the distribution's
# cross compiler and runs their unit tests under qemu-user. Machines differ there in what our code must not assume: the
# signedness of char, contraction into fma, NEON in place of AVX. Everything lies in build/arm64.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
case "$(uname -m)" in
  x86_64) ;;
  aarch64) say "This machine is arm64: the native tests say it all"; exit 0 ;;
  *) die "test-arm64.sh runs on x86-64" ;;
esac
place="$root/build/arm64"
"$root/scripts/setup-system.sh" arm64
code=0
"$root/scripts/arm64-sysroot.sh" "$place/sysroot" || code=$?
if [ "$code" = 3 ] && [ -z "${CI:-}" ]; then
  say "SKIPPED: the unit tests for arm64, because their libraries cannot be had here"
  exit 0
fi
[ "$code" = 0 ] || die "no arm64 libraries, no arm64 tests"
export TETRAD_ARM64_SYSROOT="$place/sysroot"

# -O1 without debug information: the compile time counts, not the speed under an emulator.
say "Cross-compiling for arm64"
"$venv/bin/cmake" -S "$root" -B "$place/build" -G Ninja --log-level=NOTICE -Wno-dev \
  -DCMAKE_TOOLCHAIN_FILE="$root/cmake/toolchains/aarch64-linux-gnu.cmake" -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1 \
  -DTETRAD_ENGINE=OFF -DTETRAD_TESTS=ON >&2 || die "configuring for arm64 failed; CMake's message stands above"
# Not the guard's view of processes: under an emulator that is the emulator's memory.
select=(-R '^unit_' -E '^unit_guard_tree$')
tests=$("$venv/bin/ctest" --test-dir "$place/build" -N "${select[@]}" | sed -n 's/^ *Test *#[0-9]*: //p')
[ -n "$tests" ] || die "no unit test is configured for arm64"
"$venv/bin/cmake" --build "$place/build" -j "${TETRAD_JOBS:-$(nproc)}" --target host $tests >&2 ||
  die "the build for arm64 failed; the compiler's message stands above"

say "Running the unit tests under qemu-user"
"$venv/bin/ctest" --test-dir "$place/build" "${select[@]}" --output-on-failure --no-tests=error -j "$(nproc)" >&2 ||
  die "unit tests failed on arm64; their output stands above"
