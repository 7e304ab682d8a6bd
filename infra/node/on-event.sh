#!/bin/sh
# Sentinel's notification script: on-event.sh EVENT DESCRIPTION, with this Sentinel's environment.
#
# +selected-slave. A promoted replica takes writes only once a replica is attached to it (min-replicas-to-write), and the
# Sentinel that leads a failover tells the other replicas only when it sees the promotion in its next INFO, up to a
# second later. So wait until the selected one says role:master and tell the others at once, which is nothing but what
# that Sentinel will tell them. A failover that is aborted leaves the selected one a replica, and nothing is done.
#
# -failover-abort-not-elected. Sentinels that notice a dead master in the same moment vote for themselves: then nobody has
# a majority, and all wait 2 x failover-timeout, without a master. Two are enough for it, which is what a host leaves that
# ends with the master and a Sentinel. So, as soon as a majority can be asked, that wait is made short until the next
# attempt has begun. Each Sentinel waits up to a second of its own choice more: they do not meet again.
#
# -failover-abort-no-good-slave. No replica may be promoted: after an outage of all of them, say, those that are back
# already are empty. The Sentinel that leads would not look again for as long; it does as soon as there is one.
set -eu
here=$(dirname "$0")

follow_selected() { # follow_selected slave NAME IP PORT @ MASTER_NAME OLD_IP OLD_PORT
    new="$3:$4" old="$7:$8"
    begun=$(now_ms)
    until [ "$(role_of "$new")" = master ]; do
        [ $(($(now_ms) - begun)) -lt 3000 ] || return 0
        sleep 0.02
    done
    for node in $DATA_NODES; do
        if [ "$node" = "$new" ] || [ "$node" = "$old" ] || [ "$(role_of "$node")" != slave ]; then continue; fi
        ask "$node" REPLICAOF "${new%:*}" "${new##*:}" >/dev/null && log "$new is the master: $node follows it"
    done
}

voted_epoch() { # of this Sentinel's latest vote: for itself when it begins a failover, else for the one that asked
    sed -n "s/^sentinel leader-epoch $MASTER_NAME //p" "$DATA_DIR/sentinel.conf"
}

elect_again() { try_again_when majority_answers "no Sentinel was elected to lead the failover"; }

majority_answers() { ask "$ME" SENTINEL CKQUORUM "$MASTER_NAME" >/dev/null; }

select_again() { try_again_when replica_is_eligible "no replica could be promoted, and now one can"; }

# What was known of a replica before it ended says nothing of what it has now, its priority for one.
replica_is_eligible() { # replica_is_eligible MS: this Sentinel may promote one, by what it said in the last MS
    replicas_by "$ME" | awk -v ms="$1" '$2 == "slave" && $4 > 0 && $5 < ms { found = 1 } END { exit !found }'
}

try_again_when() { # try_again_when CONDITION REASON: the condition is told for how many ms it has been waited for
    begun=$(now_ms) waited=0
    until "$1" "$waited"; do
        [ "$waited" -lt 15000 ] || return 0 # one that comes back later begins a failover itself
        sleep 0.1
        waited=$(($(now_ms) - begun))
    done
    log "$2: trying again at once"
    epoch=$(voted_epoch)
    ask "$ME" SENTINEL SET "$MASTER_NAME" failover-timeout $((ELECTION_TIMEOUT_MS / 2)) >/dev/null || true
    begun=$(now_ms)
    # No longer than until somebody leads: who has given its vote keeps out of the way for as long as was declared.
    while [ "$(voted_epoch)" = "$epoch" ] && [ $(($(now_ms) - begun)) -lt 5000 ]; do
        case $(ask "$ME" SENTINEL MASTER "$MASTER_NAME" | field_of flags) in
            "" | *o_down*) sleep 0.05 ;;
            *) break ;; # it has been replaced, or is back
        esac
    done
    load_node_env "$NODE_ENV" # it may have been declared anew meanwhile
    begun=$(now_ms)
    until sentinel_settings | ask "$ME" >/dev/null; do
        [ $(($(now_ms) - begun)) -lt 30000 ] || return 0 # it has ended: a start gives it what was declared
        sleep 0.1
    done
}

case $1 in
    +selected-slave) react=follow_selected ;;
    -failover-abort-not-elected) react=elect_again ;;
    -failover-abort-no-good-slave) react=select_again ;;
    *) exit 0 ;;
esac
# shellcheck source=infra/node/lib.sh
. "$here/lib.sh"
load_node_env "$NODE_ENV"
# shellcheck disable=SC2086
$react $2
