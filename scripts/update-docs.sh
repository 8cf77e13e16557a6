#!/usr/bin/env bash
# update-docs.sh [--check] [BUILD]: the chapter "Keys" of docs/config.md from the schemas of the core and of the shipped
# plugins, as the built host tells them. --check changes nothing and fails where the page is another one.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
check=""
if [ "${1:-}" = --check ]; then check=1; shift; fi
build=${1:-$root/build}
page="$root/docs/config.md"
grep -q '^and run it. -->$' "$page" || die "$page has no line that says where the generated part begins"

new=$(mktemp)
trap 'rm -f "$new"' EXIT
sed '/^and run it. -->$/q' "$page" >"$new"
echo >>"$new"
# Only the plugins of this build tree, which are the shipped ones.
env -u TETRAD_PLUGIN_PATH "$build/bin/host" config schema --markdown >>"$new"
for plugin in "$root"/plugins/*/plugin.json; do
  id=$(basename "$(dirname "$plugin")")
  case $id in guard-*) continue ;; esac  # sensors take no options from a config
  grep -q "options of $id\$" "$new" || die "host does not find the plugin $id; build the plugins first"
done
if [ -n "$check" ]; then
  diff -u "$page" "$new" >&2 || die "docs/config.md is behind the schemas; run scripts/update-docs.sh and commit the result"
else
  cat "$new" >"$page"
fi
