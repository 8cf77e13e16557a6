#!/usr/bin/env bash
# link-arm64-engine.sh: cross-compiles everything, the engine and the plugins too, against libtorch's arm64 wheel, and shows
# what came out. By hand, before a release: it downloads 400 MB and compiles for a quarter of an hour; CI has
# test-arm64.sh. Everything lies in build/arm64.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
[ "$(uname -m)" = x86_64 ] || die "link-arm64-engine.sh cross-compiles and runs on x86-64"
place="$root/build/arm64"
"$root/scripts/setup-system.sh" build test arm64
"$root/scripts/setup-venv.sh" base
"$root/scripts/arm64-sysroot.sh" "$place/sysroot"
export TETRAD_ARM64_SYSROOT="$place/sysroot"

torch=$(sed -n 's/^torch==//p' "$root/scripts/requirements-base.txt")
site="$place/site-$torch"
if [ ! -e "$site/complete" ]; then
  say "Downloading libtorch $torch for arm64"
  rm -rf "$site"
  "$venv/bin/pip" download -q --no-deps --only-binary=:all: --platform manylinux_2_28_aarch64 --python-version 3.11 \
    --implementation cp --abi cp311 -d "$place/wheel" "torch==$torch" >&2 || die "the wheel could not be downloaded"
  "$venv/bin/python" -m zipfile -e "$place/wheel/torch-$torch"*aarch64.whl "$site"
  touch "$site/complete"
fi

# Of NVIDIA's libraries, which libtorch needs, nothing is here; what our own files need is still checked.
say "Cross-compiling the engine and the plugins"
"$venv/bin/cmake" -S "$root" -B "$place/engine" -G Ninja --log-level=NOTICE -Wno-dev \
  -DCMAKE_TOOLCHAIN_FILE="$root/cmake/toolchains/aarch64-linux-gnu.cmake" -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="-O0 -DNDEBUG" \
  -DTETRAD_TORCH_DIR="$site/torch" -DTETRAD_TESTS=OFF -DTETRAD_CUDA=OFF \
  -DCMAKE_EXE_LINKER_FLAGS="-Wl,-rpath-link,$site/torch/lib:$site/torch.libs -Wl,--allow-shlib-undefined" \
  -DCMAKE_SHARED_LINKER_FLAGS="-Wl,-rpath-link,$site/torch/lib:$site/torch.libs" \
  -DCMAKE_MODULE_LINKER_FLAGS="-Wl,-rpath-link,$site/torch/lib:$site/torch.libs" >&2 ||
  die "configuring for arm64 failed; CMake's message stands above"
"$venv/bin/cmake" --build "$place/engine" -j "${TETRAD_JOBS:-$(nproc)}" --target tetrad >&2 ||
  die "the build for arm64 failed; the compiler's message stands above"
for file in "$place"/engine/bin/* "$place"/engine/lib/tetrad/plugins/*.so; do
  machine=$(readelf -h "$file" | sed -n 's/^ *Machine: *//p')
  [ "$machine" = AArch64 ] || die "$file is for $machine"
  printf '%s: %s, needs %s\n' "${file#"$root/"}" "$machine" \
    "$(readelf -d "$file" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | tr '\n' ' ')"
done
