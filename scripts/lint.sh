#!/usr/bin/env bash
# lint.sh [all]: clang-format on every C++/CUDA file of ours, clang-tidy on the .cpp files changed since main (or all of
# them). clang-tidy needs a configured build/ (its compile_commands.json).
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
mapfile -t sources < <(git ls-files -- '*.h' '*.cpp' '*.cu' '*.cuh')
say "clang-format on ${#sources[@]} files"
printf '%s\0' "${sources[@]}" | xargs -0 clang-format --dry-run -Werror && formatted=1 || formatted=0

if [ "${1:-}" = all ]; then
  mapfile -t files < <(git ls-files -- '*.cpp')
else
  base=$(git merge-base HEAD origin/main 2>/dev/null || git merge-base HEAD main)
  mapfile -t files < <({ git diff --name-only --diff-filter=d "$base"; git ls-files -o --exclude-standard; } | grep '\.cpp$' | sort -u || true)
fi
[ -f build/compile_commands.json ] || die "build/compile_commands.json is missing: run make test (or make build) first"
# clang cannot read g++'s precompiled headers: the same commands without them.
mkdir -p build/lint
sed -E 's/ -Winvalid-pch//g; s/ -include [^ "]*cmake_pch[^ "]*//g' build/compile_commands.json >build/lint/compile_commands.json
# Files that this build does not compile (tests switched off, say) have no command line to check them with.
checked=()
for file in "${files[@]}"; do
  if grep -qF "\"$root/$file\"" build/compile_commands.json; then checked+=("$file"); fi
done
say "clang-tidy on ${#checked[@]} files"
tidy=1
[ ${#checked[@]} -eq 0 ] || printf '%s\0' "${checked[@]}" |
  xargs -0 -n 1 -P "$(nproc)" clang-tidy --config-file=.clang-tidy -p build/lint --quiet --warnings-as-errors='*' 2> >(grep -v 'warnings generated' >&2) || tidy=0
[ $formatted = 1 ] || die "the files above are not formatted; run clang-format -i on them"
[ $tidy = 1 ] || die "clang-tidy: see above"
