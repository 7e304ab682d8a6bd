#!/bin/sh
# Stops this node the planned way: stop.sh NODE_ENV. A master hands over first; then the server gets TERM.
# Bounded: the handover has HANDOVER_PREPARE_S + HANDOVER_SETTLE_S at most, the server STOP_TIMEOUT_S.
set -eu
here=$(dirname "$0")
# shellcheck source=infra/node/lib.sh
. "$here/lib.sh"
load_node_env "$1"

STOP_TIMEOUT_S=${STOP_TIMEOUT_S:-15}

if [ "$NODE_KIND" = data ] && [ "$MODE" = sentinel ]; then
    HANDOVER_PREPARE_S=${HANDOVER_PREPARE_S:-10} "$here/handover.sh" "$1" >&2 ||
        log "stopping without a handover: the Sentinels have to notice by themselves"
fi

server=$(cat "$RUN_DIR/server.pid" 2>/dev/null) || { log "no server runs" && exit 0; }
kill -TERM "$server" 2>/dev/null || exit 0
begun=$(now_ms)
while kill -0 "$server" 2>/dev/null; do
    if [ $(($(now_ms) - begun)) -gt $((STOP_TIMEOUT_S * 1000)) ]; then
        log "the server did not end within $STOP_TIMEOUT_S s of TERM: killing it"
        kill -KILL "$server" 2>/dev/null || true
        break
    fi
    sleep 0.05
done
await_witness
