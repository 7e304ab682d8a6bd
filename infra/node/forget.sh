#!/bin/sh
# Makes this Sentinel forget the nodes that are gone and declared no longer: forget.sh NODE_ENV
#
# A Sentinel remembers every replica and peer that it ever saw: as down, for ever, and a peer counts in its majority. Only
# SENTINEL RESET makes it forget, and that makes it forget everybody else too until it has found them again. So it is
# done only where there is such a node, only while the master is well, nothing moves and everybody declared is known,
# and this waits until they are known again. Call it on one Sentinel after the other, always in the same order: then it
# never happens on two at once, however many do so.
# On a data node it ends what note_who_leaves began.
# Exit 0: nothing (more) to forget. Exit 1: gave up after FORGET_TIMEOUT_S, and said why.
set -eu
here=$(dirname "$0")
# shellcheck source=infra/node/lib.sh
. "$here/lib.sh"
load_node_env "$1"
rm -f "$DATA_DIR/leaving" # by now the master is one that stays: nobody else is ours any more
[ "$NODE_KIND" = sentinel ] || exit 0

FORGET_TIMEOUT_S=${FORGET_TIMEOUT_S:-30}
LOCK="$RUN_DIR/forget.lock" # a link to the number of the process that holds it
begun=$(now_ms)
reason=""

wait_or_give_up() {
    if [ $(($(now_ms) - begun)) -gt $((FORGET_TIMEOUT_S * 1000)) ]; then
        log "gave up after $FORGET_TIMEOUT_S s: $reason"
        exit 1
    fi
    sleep 0.1
}

known() { # a line for each replica and peer: HOST:PORT FLAGS, and for a replica its link to the master
    replicas_by "$ME" | cut -d ' ' -f 1-3
    ask "$ME" SENTINEL SENTINELS "$MASTER_NAME" | awk 'NR % 2 { key = $0; next }
        { value[key] = $0 }
        key == "flags" { print value["ip"] ":" value["port"], value["flags"] }'
}

gone_and_undeclared() {
    for node in $(known | cut -d ' ' -f 1); do
        case " $DATA_NODES $SENTINELS " in *" $node "*) continue ;; esac
        # One that still answers would be found again. It may be anybody, so it is told no password.
        if ! replies_without_login "$node"; then echo "$node"; fi
    done
}

knows_all_declared() { # on failure, reason
    state=$(ask "$ME" SENTINEL MASTER "$MASTER_NAME" | paste -s -d ' ' -)
    case $state in *" flags master "*) ;; *) reason="the master is down or moving, as this Sentinel sees it" && return 1 ;; esac
    master=$(master_by "$ME")
    seen=$(known)
    for node in $DATA_NODES; do
        if [ "$node" != "$master" ] && ! echo "$seen" | grep -qFx "$node slave ok"; then
            reason="replica $node is not known as well" && return 1
        fi
    done
    for node in $SENTINELS; do
        if [ "$node" != "$ME" ] && ! echo "$seen" | grep -qFx "$node sentinel"; then
            reason="Sentinel $node is not known as well" && return 1
        fi
    done
}

may_reset() { # may_reset NODE...: nothing but these would be forgotten; on failure, reason
    knows_all_declared || return 1
    if [ "$(role_of "$master")" != master ] || [ "$(elected_master)" != "$master" ]; then
        reason="the Sentinels and $master do not agree that it is the master" && return 1
    fi
    attached=$(ask "$master" INFO replication) || { reason="$master does not answer" && return 1; }
    for node in "$@"; do
        # Sentinels learn of replicas from the master.
        if echo "$attached" | grep -qF "ip=${node%:*},port=${node##*:},"; then
            reason="$master still has $node for a replica" && return 1
        fi
    done
}

gone=$(gone_and_undeclared)
[ -n "$gone" ] || exit 0

until take_lock "$LOCK"; do
    reason="process $holder is at it"
    wait_or_give_up
done
trap 'rm -f "$LOCK"' EXIT
trap 'exit 1' HUP INT TERM

while gone=$(gone_and_undeclared) && [ -n "$gone" ]; do
    # shellcheck disable=SC2086
    until may_reset $gone; do wait_or_give_up; done
    ask "$ME" SENTINEL RESET "$MASTER_NAME" >/dev/null || { log "SENTINEL RESET was refused" && exit 1; }
    log "forgot $(echo "$gone" | paste -s -d ' ' -)"
    until knows_all_declared; do wait_or_give_up; done
done
