#!/usr/bin/env bash
# arm64-sysroot.sh DIR: fills DIR with the arm64 libraries that the rooms without libtorch need, unpacked from the
# distribution's own packages. Nothing is installed and apt's own state is not touched: it works on lists of its own below
# DIR. Quick when DIR is complete already. Exit code 3: apt has no arm64 packages here.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
mkdir -p "${1:?arm64-sysroot.sh DIR}"
sysroot=$(cd "$1" && pwd)
packages="libfmt-dev libyaml-cpp-dev libboost-dev libboost-filesystem-dev libboost-system-dev libpcre2-dev libutf8proc-dev
  nlohmann-json3-dev libcli11-dev libhwy-dev libedit-dev libxxhash-dev libprotozero-dev libgtest-dev libgmock-dev"
packages=$(echo $packages)
stamp="$sysroot/complete"
[ "$(cat "$stamp" 2>/dev/null)" != "$packages" ] || exit 0

say "Fetching arm64 libraries into $sysroot (about 30 MB)"
rm -rf "$sysroot"
state="$sysroot/apt"
mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
: > "$state/status"
apt() {
  apt-get -qq -o Acquire::Retries=3 -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$state" \
    -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" \
    -o APT::Sandbox::User= -o Debug::NoLocking=1 "$@"
}
# With an empty list of installed packages apt names all that these need; the C and C++ libraries among them come with the
# cross compiler instead.
messages="$state/messages"
apt update >"$messages" 2>&1 || true  # a source without arm64 packages fails, and another one may have them
if ! apt install --no-install-recommends --print-uris -y $packages >"$state/uris" 2>>"$messages"; then
  cat "$messages" >&2
  say "apt's sources have no arm64 packages (Ubuntu keeps them in an archive of their own, to be added with [arch=arm64])"
  exit 3
fi
uris=$(sed -n "s/^'\([^']*\)'.*/\1/p" "$state/uris")
wanted=$(printf '%s\n' "$uris" | sed 's|.*/||; s|_.*||' | grep -Evx 'lib(c6|c6-dev|c-dev-bin|crypt.*|gcc-s1|stdc(\+|%2b).*|nsl.*|tirpc.*)|gcc-.*|linux-libc-dev|rpcsvc-proto|.*-common|googletest')
(cd "$state/cache" && apt download $wanted >/dev/null) || die "the arm64 packages could not be fetched; apt's message stands above"
for file in "$state"/cache/*.deb; do dpkg-deb -x "$file" "$sysroot"; done
rm -rf "$state"
printf '%s' "$packages" > "$stamp"
