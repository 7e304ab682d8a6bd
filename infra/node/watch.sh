#!/bin/sh
# Runs beside a node's server and mends what others leave undone: watch.sh NODE_ENV SERVER_PID. Ends with the server.
#
# A Sentinel: the master is down, and nobody has begun a failover for a while: promote.sh, whenever it becomes possible.
# A script that was killed half-way leaves run-time settings that nobody else would put right:
#   a Sentinel's (file `borrowed`): what was declared, again
#   a data node's min-replicas-to-write or replica-priority of a handover: what was declared, seen twice and none running
# A server that can keep what clients send out of its log does so, and may then report a crash (not Redis before 7.4).
set -eu
here=$(dirname "$0")
# shellcheck source=infra/node/lib.sh
. "$here/lib.sh"
load_node_env "$1"

LOOK_S=2
MEND_LOOKS=3
QUIET_S=4 # a failover under way has been voted for, and ends or is given up by then

quiet_s() { # quiet_s: how long this Sentinel waits for others; each a little longer than the one before it, so they do not meet
    wait=$QUIET_S
    for sentinel in $SENTINELS; do
        if [ "$sentinel" = "$ME" ]; then break; fi
        wait=$((wait + 1))
    done
    echo "$wait"
}

voted="" quiet=0 said=""
promote_when_due() {
    case $(ask "$ME" SENTINEL MASTER "$MASTER_NAME" | field_of flags) in
        *failover_in_progress*) quiet=0 ;;
        *o_down*)
            quiet=$((quiet + LOOK_S))
            if [ "$(voted_epoch)" != "$voted" ]; then voted=$(voted_epoch) quiet=0; fi
            [ "$quiet" -ge "$(quiet_s)" ] || return 0
            reason=$("$here/promote.sh" "$NODE_ENV") && quiet=0 && return
            if [ "$reason" != "$said" ]; then log "the master is down and none can be promoted: $reason"; fi
            said=$reason
            ;;
        *) quiet=0 said="" ;;
    esac
}

mend_sentinel() {
    [ -e "$BORROWED" ] || return 0
    if take_lock "$RUN_DIR/promote.lock"; then
        # Only what was there before: a script that has just begun takes the lock first.
        log "this Sentinel still goes by what a script had set for a moment: what was declared, again"
        if give_orders "what was declared" "$(sentinel_settings)"; then rm -f "$BORROWED"; fi
        rm -f "$RUN_DIR/promote.lock"
    fi
}

left_by_a_handover() { # the commands that undo it
    values=$(ask "$ME" CONFIG GET min-replicas-to-write replica-priority | paste -s -d ' ' -)
    case " $values " in *" min-replicas-to-write $UNREACHABLE "*)
        [ -e "$HELD" ] || echo "CONFIG SET min-replicas-to-write $(declared min-replicas-to-write)" ;;
    esac
    case " $values " in *" replica-priority $PREFERRED "*)
        kill -0 "$(cat "$RUN_DIR/handover.pid" 2>/dev/null)" 2>/dev/null || echo "CONFIG SET replica-priority $ORDINARY" ;;
    esac
}

left=""
mend_data() {
    now=$(left_by_a_handover)
    if [ -n "$now" ] && [ "$now" = "$left" ]; then
        log "left by a handover that was killed: $(echo "$now" | paste -s -d ';' -)"
        give_orders "mending" "$now" || log "$reason"
    fi
    left=$now
}

hide_user_data() { # tried until it has answered: one that lacks the setting refuses both
    case $(answer_of "$ME") in
        well)
            ask "$ME" CONFIG SET hide-user-data-from-log yes crash-log-enabled yes >/dev/null || true
            hidden=yes
            ;;
    esac
}

NODE_ENV=$1
looks=0 hidden=""
while sleep "$LOOK_S" && kill -0 "$2" 2>/dev/null; do
    if [ "$NODE_KIND" = sentinel ]; then promote_when_due; elif [ -z "$hidden" ]; then hide_user_data; fi
    looks=$(((looks + 1) % MEND_LOOKS))
    [ "$looks" = 0 ] || continue
    load_node_env "$1" 2>/dev/null || continue # being written
    if [ "$NODE_KIND" = sentinel ]; then mend_sentinel; else mend_data; fi
done
