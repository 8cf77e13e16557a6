#!/usr/bin/env bash
# accept.sh MODEL [options]: the acceptance of the predecessor on your own Qwen3-4B, with a page of results. MODEL is a Hugging
# Face folder, or a .dat file (with --config-from FOLDER, unless config.json lies beside it). See --help.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
python=$venv/bin/python
[ -x "$python" ] || python=$(command -v python3) || die "Python 3 is missing"
exec "$python" "$root/scripts/accept.py" "$@"
