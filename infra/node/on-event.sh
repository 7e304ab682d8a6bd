#!/bin/sh
# Sentinel's notification script: on-event.sh EVENT DESCRIPTION, with this Sentinel's environment.
#
# +try-failover. A master that is not dead, but was too slow, goes on acknowledging until the new one is there and it is
# told: the others confirm what it writes, and lose it. So whoever says role:master gets a write pause that ends by
# itself, as for a handover.
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
# already are empty; or Sentinel does not trust them any more. See promote.sh; what takes longer, watch.sh sees.
#
# Exit 0 whatever happens: Sentinel would run the same again for minutes, long after its time.
set -eu
trap 'exit 0' EXIT
trap 'exit 0' HUP INT TERM
here=$(dirname "$0")

fence_masters() { # fence_masters master NAME IP PORT
    masters=$(for node in $DATA_NODES; do
        if [ "$(role_of "$node")" = master ]; then echo "$node"; fi &
    done)
    # Those that said so before anybody was promoted: the new one is not among them.
    case $(ask "$ME" SENTINEL MASTER "$MASTER_NAME" | field_of failover-state) in
        "" | wait_start | select_slave) ;;
        *) masters=$(echo "$masters" | grep -Fx "$3:$4") || return 0 ;;
    esac
    for node in $masters; do
        log "$node answers, and is being replaced: it takes no writes for $FENCE_MS ms"
        ask "$node" CLIENT PAUSE "$FENCE_MS" WRITE >/dev/null || log "$node was not told"
        # A handover may have ended meanwhile.
        if [ "$(role_of "$node")" = slave ]; then ask "$node" CLIENT UNPAUSE >/dev/null || true; fi
    done
}

follow_selected() { # follow_selected slave NAME IP PORT @ MASTER_NAME OLD_IP OLD_PORT
    new="$3:$4"
    begun=$(now_ms)
    until [ "$(role_of "$new")" = master ]; do
        [ $(($(now_ms) - begun)) -lt 3000 ] || return 0
        sleep 0.02
    done
    for node in $DATA_NODES; do
        if [ "$node" = "$new" ] || [ -z "$(role_of "$node")" ]; then continue; fi
        if answer=$(question "$node" REPLICAOF "${new%:*}" "${new##*:}" 2>&1); then
            log "$new is the master: $node follows it"
        else
            log "$new is the master, but $node was not told: ${answer:-no answer}"
        fi &
    done
    wait
}

majority_answers() { ask "$ME" SENTINEL CKQUORUM "$MASTER_NAME" >/dev/null; }

select_again() {
    begun=$(now_ms) said=""
    until reason=$("$here/promote.sh" "$NODE_ENV"); do
        [ "$reason" = "$said" ] || log "no replica was promoted: $reason"
        said=$reason
        [ $(($(now_ms) - begun)) -lt 15000 ] || return 0
        sleep 0.2
    done
}

elect_again() {
    begun=$(now_ms)
    until majority_answers; do
        [ $(($(now_ms) - begun)) -lt 15000 ] || return 0 # one that comes back later begins a failover itself
        sleep 0.1
    done
    take_lock "$RUN_DIR/promote.lock" || return 0
    trap 'give_back; rm -f "$RUN_DIR/promote.lock"; exit 0' EXIT
    log "no Sentinel was elected to lead the failover: trying again at once"
    epoch=$(voted_epoch)
    : >"$BORROWED"
    ask "$ME" SENTINEL SET "$MASTER_NAME" failover-timeout $((ELECTION_TIMEOUT_MS / 2)) >/dev/null || true
    begun=$(now_ms)
    # No longer than until somebody leads: who has given its vote keeps out of the way for as long as was declared.
    while [ "$(voted_epoch)" = "$epoch" ] && [ $(($(now_ms) - begun)) -lt 5000 ]; do
        case $(ask "$ME" SENTINEL MASTER "$MASTER_NAME" | field_of flags) in
            "" | *o_down*) sleep 0.05 ;;
            *) break ;; # it has been replaced, or is back
        esac
    done
}

case $1 in
    +try-failover) react=fence_masters ;;
    +selected-slave) react=follow_selected ;;
    -failover-abort-not-elected) react=elect_again ;;
    -failover-abort-no-good-slave) react=select_again ;;
    *) exit 0 ;;
esac
# shellcheck source=infra/node/lib.sh
. "$here/lib.sh"
load_node_env "$NODE_ENV"
FENCE_MS=$((DOWN_AFTER_MS * 90 / 100))
# shellcheck disable=SC2086
$react $2
