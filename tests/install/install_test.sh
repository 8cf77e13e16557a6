#!/usr/bin/env bash
# install_test.sh CMAKE BUILD_DIR SOURCE_DIR CXX: installs, moves the tree, runs what was moved, and builds, checks and runs
# the example against it.
set -euo pipefail
cmake=$1 build=$2 source=$3 cxx=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

"$cmake" --install "$build" --prefix "$work/first" >"$work/install.log" || { cat "$work/install.log"; fail "cmake --install"; }
mv "$work/first" "$work/moved"
prefix="$work/moved"

for path in bin/host libexec/tetrad/tetrad-engine lib/tetrad/plugins/backend-nvfp4.so lib/tetrad/plugins/kvc-persistent.so \
    share/tetrad/configs/fp2-model.yaml share/tetrad/configs/parity/training-vs-bridge.yaml include/tetrad/base/error.h include/tetrad/nvfp4/codec.h \
    lib/cmake/Tetrad/TetradConfig.cmake; do
  [ -e "$prefix/$path" ] || fail "$path was not installed"
done

# From the moved tree and an empty working directory: the launcher, the plugins beside it, and the engine (libtorch).
mkdir "$work/empty" && cd "$work/empty"
unset TETRAD_PLUGIN_PATH
# A libtorch that cannot be loaded stands first in LD_LIBRARY_PATH: the run path of the installed files must win.
mkdir "$work/bogus" && for lib in libc10.so libtorch_cpu.so; do echo bogus >"$work/bogus/$lib"; done
export LD_LIBRARY_PATH="$work/bogus"
"$prefix/bin/host" --help >"$work/help" || fail "host --help"
"$prefix/bin/host" plugins list --json >"$work/plugins.json" || fail "host plugins list"
grep -q "$prefix/lib/tetrad/plugins/backend-nvfp4.so" "$work/plugins.json" || { cat "$work/plugins.json"; fail "plugins list does not name the moved plugin"; }
"$prefix/bin/host" config validate "$prefix/share/tetrad/configs/fp2-model.yaml" "$prefix/share/tetrad/configs/parity/training-vs-bridge.yaml" || fail "host config validate of the installed config"
if ldd "$prefix/libexec/tetrad/tetrad-engine" | grep -E 'not found|bogus'; then fail "the installed engine does not find its libraries"; fi
unset LD_LIBRARY_PATH

"$cmake" -S "$source/tests/install/author" -B "$work/author" -G Ninja "-DCMAKE_PREFIX_PATH=$prefix" "-DCMAKE_CXX_COMPILER=$cxx" \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo "-DFIXTURES=$source/tests/plugin/fixtures" >"$work/author.log" 2>&1 || { cat "$work/author.log"; fail "find_package(Tetrad)"; }
"$cmake" --build "$work/author" >"$work/author.log" 2>&1 || { cat "$work/author.log"; fail "building a plugin against the installed SDK"; }
plugin=$(find "$work/author" -name good.so)
"$prefix/bin/host" plugins inspect "$plugin" >"$work/inspect" || { cat "$work/inspect"; fail "host plugins inspect of the author's plugin"; }

# A stranger's way (docs/plugins.md): the installed example, copied to a folder of its own, built, checked, run.
example="$work/my backend"
cp -r "$prefix/share/tetrad/examples/linear-int8" "$example"
build_example() {
  "$cmake" -S "$example" -B "$example/build" -G Ninja "-DCMAKE_PREFIX_PATH=$prefix" "-DCMAKE_CXX_COMPILER=$cxx" >"$work/example.log" 2>&1 &&
    "$cmake" --build "$example/build" >>"$work/example.log" 2>&1 || { cat "$work/example.log"; fail "building the example"; }
}
build_example
int8="$example/build/lib/tetrad/plugins/linear-int8.so"
"$prefix/bin/host" plugins check "$int8" >"$work/check" || { cat "$work/check"; fail "host plugins check of the example"; }
grep -q '^verdict: pass' "$work/check" || { cat "$work/check"; fail "no verdict"; }
if [ -d "$source/models/default" ]; then
  (cd "$example" && "$prefix/bin/host" --config int8.yaml --set "model.path=$source/models/default" --set run.dir=null) \
    >"$work/chat" 2>"$work/chat.err" || { cat "$work/chat.err"; fail "chat through the example"; }
  grep -q 'linear-int8' "$work/chat.err" || { cat "$work/chat.err"; fail "the run does not name the example's backend"; }
  grep -q 'Paris' "$work/chat" || { cat "$work/chat"; fail "the model answers otherwise through the example"; }
else
  echo "no model in models/default: the example was not run in a chat"
fi
# Wrong by one scale: every row twice too large, consistently in all products.
sed -i 's|at::kFloat) \* packed.scale)|at::kFloat) * packed.scale * 2)|' "$example/linear_int8.cpp"
grep -q 'packed.scale \* 2' "$example/linear_int8.cpp" || fail "the example's scale was not found"
build_example
code=0
"$prefix/bin/host" plugins check "$int8" --case 'linear/weights/*' >"$work/check" || code=$?
[ "$code" = 3 ] || { cat "$work/check"; fail "a backend that is wrong by one scale must end with 3, not $code"; }
echo "installed, moved, ran, built a plugin, walked through the example"
