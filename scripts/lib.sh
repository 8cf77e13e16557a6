# Sourced by the other scripts: where the repository is, and how they speak (everything to stderr).
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$root/.venv"
say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
if [ ! -t 2 ]; then say() { printf '==> %s\n' "$*" >&2; }; fi
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
