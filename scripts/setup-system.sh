#!/usr/bin/env bash
# setup-system.sh build|test|arm64|lint ...: installs the system packages that are missing (Debian, Ubuntu), with sudo only when
# something is missing and we are not root. Elsewhere it prints the list and stops; TETRAD_SYSTEM=skip goes on regardless.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

build="g++ make git pkg-config ca-certificates python3 python3-venv ninja-build ccache mold libboost-dev libboost-filesystem-dev
  libboost-system-dev libyaml-cpp-dev libfmt-dev libcli11-dev nlohmann-json3-dev libpcre2-dev libutf8proc-dev
  libhwy-dev libedit-dev libxxhash-dev libprotozero-dev"
test="libgtest-dev libgmock-dev libbenchmark-dev"
arm64="g++-aarch64-linux-gnu qemu-user-static"  # cross-compiling on x86-64; scripts/test-arm64.sh
lint="clang-format clang-tidy"

[ "${TETRAD_SYSTEM:-}" != skip ] || exit 0
wanted=""
for set in "$@"; do
  case "$set" in
    build) wanted+=" $build" ;;
    test) wanted+=" $test" ;;
    arm64) wanted+=" $arm64" ;;
    lint) wanted+=" $lint" ;;
    *) die "unknown package set '$set' (build, test, arm64, lint)" ;;
  esac
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  say "This is not Debian or Ubuntu, so you install the system packages. Debian's names for them:"
  printf '%s\n' $wanted | sed 's/^/    /' >&2
  say "C++20 compiler g++ 12 or newer, Python 3.11 or newer. When they are there, run: TETRAD_SYSTEM=skip make ..."
  exit 1
fi

missing=""
for package in $wanted; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=" $package"
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || die "system packages are missing and there is no sudo; as root, run: apt-get install$missing"
  sudo="sudo"
  say "Installing system packages with sudo (it may ask for your password):$missing"
else
  say "Installing system packages:$missing"
fi
apt() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -qq "$@"; }
# An installation that was interrupted leaves packages unpacked but not configured; apt refuses to go on before that is done.
$sudo dpkg --configure -a >/dev/null || die "dpkg --configure -a failed; its message stands above"
apt update >/dev/null || die "apt-get update failed; check the network, then run make again"
apt install -y --no-install-recommends $missing >/dev/null ||
  die "apt-get could not install:$missing. Its message stands above; run make again once that is solved"
