#!/bin/sh
# Promotion for any CI system, one word at a time, so that each has only the secrets that it needs:
#   promote.sh prepare          makes .venv; wants no secret
#   promote.sh start            on a merge: begins a rollout of the commit that is checked out, unless one is under way,
#                               whose release then goes on; touches no stack and wants no passphrase
#   promote.sh advance [PHASE]  what can be done now, no step of a phase after PHASE (staging, canary, prod; default
#                               prod, rollbacks included); wants the passphrase
# `advance` ends with 0 while all is as it should be (done, soaking, waiting), else with what `rollout advance` said.
# `start` and `advance` sign what they write with $ROLLOUT_SIGNING_KEY, if the commit's rollout.yaml lists keys.
set -eu
cd "$(dirname "$0")/.."

case "${1:-}" in
    prepare)
        make --no-print-directory bootstrap
        ;;
    start)
        .venv/bin/python -m rollout start || echo "no new rollout was begun, see above"
        ;;
    advance)
        code=0
        .venv/bin/python -m rollout advance --upto "${2:-prod}" || code=$?
        case $code in
            0 | 10 | 20) exit 0 ;;
            *) exit "$code" ;;
        esac
        ;;
    *)
        echo "usage: promote.sh prepare | start | advance [PHASE]" >&2
        exit 2
        ;;
esac
