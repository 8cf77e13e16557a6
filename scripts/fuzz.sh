#!/usr/bin/env bash
# fuzz.sh [SECONDS [TARGET ...]]: builds the fuzz targets with clang, libFuzzer, AddressSanitizer and UBSan in build-fuzz/ and
# runs each for so long (default 60 s). New inputs that reach new code are kept in build-fuzz/corpus/, inputs that end the
# process in build-fuzz/crashes/. FUZZ_SANITIZE= (empty) leaves the sanitizers out: several times as many executions.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
seconds=${1:-60}
shift || true
build="$root/build-fuzz${FUZZ_SANITIZE+-fast}"
command -v clang++ >/dev/null || die "clang++ is missing; on Debian and Ubuntu: apt-get install clang"
sanitize="fuzzer-no-link,${FUZZ_SANITIZE-address,undefined}"
CC=clang CXX=clang++ "$venv/bin/cmake" -S "$root" -B "$build" -G Ninja -DTETRAD_ENGINE=OFF -DTETRAD_TESTS=ON \
  -DTETRAD_FUZZER=ON "-DTETRAD_SANITIZE=${sanitize%,}" -DCMAKE_CXX_FLAGS=-fno-sanitize-recover=all --log-level=NOTICE >&2
"$venv/bin/cmake" --build "$build" --target fuzz_targets >&2

corpus="$root/tests/fuzz/corpus"
[ $# -gt 0 ] || set -- $(cd "$root/tests/fuzz" && ls fuzz_*.cpp | sed 's/^fuzz_//; s/\.cpp$//')
for name in "$@"; do
  seeds=("$corpus/$name")
  case "$name" in
    chat_template) seeds+=("$root/tests/data/text/templates") ;;
    yaml_config) seeds+=("$root/configs" "$root/tests/data/config/errors") ;;
  esac
  dictionary=()
  [ ! -f "$corpus/$name.dict" ] || dictionary=("-dict=$corpus/$name.dict")
  mkdir -p "$build/corpus/$name" "$build/crashes/$name"
  say "fuzz_$name for $seconds s"
  "$build/tests/fuzz_$name" "-max_total_time=$seconds" -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 \
    "-artifact_prefix=$build/crashes/$name/" ${dictionary[@]+"${dictionary[@]}"} "$build/corpus/$name" "${seeds[@]}" \
    2> "$build/$name.log" || { tail -40 "$build/$name.log" >&2; die "fuzz_$name ended with a finding"; }
  grep -E "^stat::number_of_executed_units|^stat::average_exec_per_sec|^stat::peak_rss" "$build/$name.log"
done
