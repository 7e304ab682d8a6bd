#!/bin/sh
# Promotion for any CI system: call it on a merge with `start`, and on a schedule without.
# Ends with 0 while all is as it should be (done, soaking, waiting), else with what `rollout advance` said.
set -eu
cd "$(dirname "$0")/.."

# Makes .venv.
make --no-print-directory bootstrap

if [ "${1:-}" = start ]; then
    # A rollout under way goes on with its own release.
    .venv/bin/python -m rollout start || echo "no new rollout was begun, see above"
fi

code=0
.venv/bin/python -m rollout advance || code=$?
case $code in
    0 | 10 | 20) exit 0 ;;
    *) exit "$code" ;;
esac
