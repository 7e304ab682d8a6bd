#!/bin/sh
# The fenced handover: moves the master to a replica without losing one acknowledged write.
#
#   handover.sh [NODE_ENV [to-this-node | from-undeclared]]
# Without NODE_ENV, the variables of node.env that are used here come from the environment. With it: from this node to
# another, unless it is no master; with to-this-node: from another to this one, unless it is the master; with
# from-undeclared: the same, unless the master is a declared node.
#
# 1. wait until a majority of Sentinels agrees, no failover runs and every replica keeps up
# 2. CLIENT PAUSE WRITE on the master, wait until the replicas have everything it has
# 3. SENTINEL FAILOVER, wait until a replica says role:master; when that Sentinel ends meanwhile, ask another
# 4. make the old master its replica at once, lift the pause, close the clients' connections
# 5. wait until every Sentinel names the new master and the old one is in sync
# 6. close the connections to the old one again: who was told of it by a Sentinel meanwhile took it for the master
# Subscribers stay: a replica hears what is published at the master, and who is cut off hears nothing.
# The pause ends by itself before down-after is over: held longer, Sentinels take the master for dead, and a script that
# was killed must not leave writers blocked. Half of it is for step 2. When that fails it is lifted, and 1 and 2 are
# tried again, FENCES times in all, for a machine that was busy for a moment: else exit 1, nothing moved.
# While the failover runs that does not matter, for this master is being replaced, but what it acknowledges now would be
# lost: then the pause is renewed until a replica is the master, and min-replicas-to-write is out of reach meanwhile, so
# that a pause that ended before it was renewed lets no write in. Where neither held, it is told: exit 1.
# Exit 0: moved (or, with NODE_ENV, this node is not the master). The last line on stdout tells figures, key=value.
set -eu
here=$(dirname "$0")
# shellcheck source=infra/node/lib.sh
. "$here/lib.sh"
if [ $# -gt 0 ]; then load_node_env "$1"; fi

PREPARE_S=${HANDOVER_PREPARE_S:-20} # for steps 1 and 2
SETTLE_S=${HANDOVER_SETTLE_S:-20}   # for step 5
FENCE_MS=$((DOWN_AFTER_MS * 90 / 100))
FENCES=3
PROMOTE_MS=10000
fenced=""
guarded="" # set while min-replicas-to-write is UNREACHABLE on the old master, for its writers should the pause end
# What it is otherwise, as declared: what a node says may be what a handover that was killed has left.
if [ -e "${CONF_DIR:-}/redis.conf" ]; then MIN_REPLICAS=$(declared min-replicas-to-write); fi
target=""
preferred="" # whose priority is PREFERRED meanwhile
mine="" # set when it is from this node to another
case ${2:-} in
    to-this-node) target=$ME ;;
    from-undeclared)
        elected=$(elected_master)
        case " $DATA_NODES " in *" $elected "*) exit 0 ;; esac
        # No majority names one: nothing is known that would have to move.
        [ -n "$elected" ] || exit 0
        if ! ours "$elected"; then
            log "the Sentinels name $elected, which was never declared: it is told no password, and nothing is done"
            exit 1
        fi
        target=$ME
        ;;
esac

give_up() {
    unfence
    log "gave up: $*"
    exit 1
}

unfence() {
    if [ -n "$guarded" ]; then
        ask "$old" CONFIG SET min-replicas-to-write "$MIN_REPLICAS" >/dev/null ||
            log "CONFIG SET min-replicas-to-write $MIN_REPLICAS failed on $old: it does so itself within a few seconds"
        guarded=""
    fi
    if [ -n "$fenced" ]; then
        ask "$fenced" CLIENT UNPAUSE >/dev/null || log "CLIENT UNPAUSE failed on $fenced: the pause ends by itself"
        fenced=""
    fi
}

undo() {
    unfence
    if [ -n "$preferred" ]; then
        ask "$preferred" CONFIG SET replica-priority "$ORDINARY" >/dev/null ||
            log "CONFIG SET replica-priority $ORDINARY failed on $preferred: it does so itself within a few seconds"
        preferred=""
    fi
    if [ -n "$target" ]; then rm -f "$RUN_DIR/handover.pid"; fi
}
trap undo EXIT
trap 'exit 1' HUP INT TERM

replicas_in() { # HOST:PORT STATE of the attached replicas that are ours <INFO replication
    sed -n 's/^slave[0-9]*:ip=\([^,]*\),port=\([0-9]*\),state=\([a-z_]*\),.*/\1:\2 \3/p' | ours_among
}

has() { # has OFFSET REPLICA: it has the master's stream up to OFFSET
    # Its own word (slave HOST PORT STATE OFFSET): what the master knows of it is up to a second old.
    # shellcheck disable=SC2046
    set -- "$1" $(ask "$2" ROLE)
    [ "${5:-}" = connected ] && [ "${6:-0}" -ge "$1" ]
}

in_sync() { # in_sync OFFSET REPLICA...: every replica has it; all are asked at once
    wanted=$1
    shift
    behind=$(for replica in "$@"; do has "$wanted" "$replica" || echo "$replica" & done)
    [ -z "$behind" ]
}

eligible() { awk '$2 == "slave" && $3 == "ok" && $4 > 0'; } # those that it could promote <replicas_by

has_eligible_replica() { [ -n "$(replicas_by "$1" | ours_among | eligible)" ]; } # has_eligible_replica SENTINEL

has_stranger() { # has_stranger SENTINEL: it could promote one that is not ours
    known=$(replicas_by "$1" | eligible)
    [ "$known" != "$(echo "$known" | ours_among)" ]
}

catch_up() { # every replica gets to OFFSET in the time that a fence has for it; on failure, reason
    since=$(now_ms)
    # shellcheck disable=SC2086
    until in_sync "$1" $replicas; do
        if [ $(($(now_ms) - since)) -gt $((FENCE_MS / 2)) ]; then
            reason="the replicas of $old did not catch up to offset $1" && return 1
        fi
    done
}

prefer() { # prefer REPLICA: Sentinel promotes by priority first, the lowest before the others
    preferred=$1
    ask "$1" CONFIG SET replica-priority "$PREFERRED" >/dev/null
}

is_preferred() { # is_preferred SENTINEL: as that one knows it
    replicas_by "$1" | awk -v at="$preferred" -v wanted="$PREFERRED" '$1 == at && $4 == wanted { found = 1 } END { exit !found }'
}

prepare() { # sets old, leader (the Sentinel that clients ask first) and replicas; on failure, reason
    answers=$(votes)
    old=$(echo "$answers" | majority)
    if [ -z "$old" ]; then reason="no majority of the Sentinels names a master" && return 1; fi
    if [ "$(role_of "$old")" != master ]; then reason="$old, the elected master, does not say role:master" && return 1; fi
    leader=""
    for sentinel in $SENTINELS; do
        if [ "$(master_by "$sentinel")" = "$old" ]; then leader=$sentinel && break; fi
    done
    state=$(ask "$leader" SENTINEL MASTER "$MASTER_NAME") || { reason="$leader does not answer" && return 1; }
    flags=$(echo "$state" | field_of flags)
    if [ "$flags" != master ]; then reason="$leader sees the master as $flags" && return 1; fi
    epoch=$(echo "$state" | field_of config-epoch)
    ask "$leader" SENTINEL CKQUORUM "$MASTER_NAME" >/dev/null || { reason="no quorum at $leader" && return 1; }
    if ! has_eligible_replica "$leader"; then reason="$leader knows no replica to promote" && return 1; fi
    if [ -z "$preferred" ] && has_stranger "$leader"; then
        prefer "$(replicas_by "$leader" | ours_among | eligible | head -n 1 | cut -d ' ' -f 1)" || true
    fi
    if [ -n "$preferred" ] && ! is_preferred "$leader"; then reason="$leader does not prefer $preferred yet" && return 1; fi
    info=$(ask "$old" INFO replication) || { reason="$old does not answer" && return 1; }
    attached=$(echo "$info" | replicas_in)
    replicas=$(echo "$attached" | cut -d ' ' -f 1)
    if [ -z "$replicas" ]; then reason="no replica is attached to $old" && return 1; fi
    if echo "$attached" | grep -qv ' online$'; then
        reason="a replica of $old is still syncing" && return 1
    fi
    if [ -n "$mine" ] && [ "$old" != "$ME" ]; then
        give_up "this node says role:master but the Sentinels name $old"
    fi
    # Who does not get there without a fence, as one that hangs, would only keep the writers waiting.
    catch_up "$(echo "$info" | info_field master_repl_offset)"
}

left() { echo $((fence_until - $(now_ms))); }

fence() { # writers wait, and the replicas have all that was acknowledged; sets fence_begun, fence_until; on failure, reason
    fences=$((fences + 1))
    fence_begun=$(now_ms)
    fence_until=$((fence_begun + FENCE_MS))
    fenced=$old
    answer=$(printf 'CLIENT PAUSE %s WRITE\nINFO replication\n' "$FENCE_MS" | ask "$old") || answer=""
    case $answer in OK*) ;; *) reason="$old does not accept CLIENT PAUSE" && return 1 ;; esac
    catch_up "$(echo "$answer" | info_field master_repl_offset)" || return 1
    guard || return 1
    # The rest is for the promotion, which takes two to four ticks of the leader (50-100 ms each). What was acknowledged
    # without a fence, the replicas may not have.
    if [ "$(left)" -le $((FENCE_MS / 4)) ]; then
        reason="this machine is too busy: most of the fence of $FENCE_MS ms was over too soon" && return 1
    fi
}

guard() { # on failure, reason
    [ -n "${MIN_REPLICAS:-}" ] || return 0
    guarded=yes
    ask "$old" CONFIG SET min-replicas-to-write "$UNREACHABLE" >/dev/null || { reason="$old takes no setting" && return 1; }
}

# Its node sets it back when it has seen it for some seconds, as what a handover that was killed has left.
was_guarded() { [ "$(sed -n 2p)" = "$UNREACHABLE" ]; } # <answer to CONFIG GET min-replicas-to-write

promoted_among() { # the first of these nodes to say role:master; all are asked at once, and who is slow is not waited for
    for node in "$@"; do
        if [ "$(role_of "$node")" = master ]; then echo "$node"; fi &
    done | head -n 1
}

breathe() { # renews the pause, and lets through what it had blocked and is no write: the Sentinels' PUBLISH and PING
    [ -n "$guarded" ] || return 0
    ends=$(($(now_ms) + FENCE_MS))
    if answer=$({
        printf '%s\n' "CONFIG GET min-replicas-to-write" "CONFIG SET min-replicas-to-write $UNREACHABLE" "CLIENT UNPAUSE"
        sleep 0.05
        echo "CLIENT PAUSE $FENCE_MS WRITE"
    } | ask "$old"); then
        [ "$(left)" -gt 0 ] || echo "$answer" | was_guarded || late=yes
        fence_until=$ends
    fi
}

demote() { # the old master follows the new one, and its writers go there
    answer=$({
        echo "CONFIG GET min-replicas-to-write"
        printf 'REPLICAOF %s %s\nCLIENT UNPAUSE\n' "${new%:*}" "${new##*:}"
        if [ -n "$guarded" ]; then echo "CONFIG SET min-replicas-to-write $MIN_REPLICAS"; fi
        echo "CLIENT KILL TYPE normal"
    } | ask "$old") || return 1
    [ "$(left)" -gt 0 ] || echo "$answer" | was_guarded || late=yes
    guarded=""
}

order() { # SENTINEL FAILOVER, unless this Sentinel refuses. One that does not answer in time may have taken it and goes
    # by it when it can: the fence has to hold, and no other one may be asked.
    ask "$1" SENTINEL FAILOVER "$MASTER_NAME" >/dev/null || timed_out $?
}

lead_again() { # the Sentinel that promotes has ended, and its failover with it: another one begins anew
    for sentinel in $SENTINELS; do
        if [ "$sentinel" != "$leader" ] && [ "$(master_by "$sentinel")" = "$old" ]; then
            log "$leader ended before it promoted anybody: $sentinel goes on"
            if order "$sentinel"; then leader=$sentinel && return; fi
        fi
    done
}

has_ended() { # it refuses connections. One that is slow to answer has not: two that promote may choose differently.
    ask "$1" PING >/dev/null && return 1
    ! timed_out $?
}

# Clients that go by SENTINEL MASTERS (redis-py) are told of the new one up to a second later than those that ask for it
# by name: while the failover is in progress, the list has the old one.
listed_by() {
    state=$(ask "$1" SENTINEL MASTER "$MASTER_NAME") || return 0
    echo "$(echo "$state" | field_of ip):$(echo "$state" | field_of port)"
}

settled() { # every Sentinel that answers names the new master, a majority does, and the old one follows in sync
    for sentinel in $SENTINELS; do
        named=$(listed_by "$sentinel")
        if [ -n "$named" ] && [ "$named" != "$new" ]; then reason="$sentinel still names $named" && return 1; fi
    done
    if [ "$(elected_master)" != "$new" ]; then reason="no majority names $new yet" && return 1; fi
    info=$(ask "$old" INFO replication) || { reason="$old does not answer" && return 1; }
    link=$(echo "$info" | info_field master_link_status)
    if [ "$link" != up ]; then reason="the link of $old to $new is ${link:-not there}" && return 1; fi
}

close_connections() { # of clients, but for subscribers
    ask "$old" CLIENT KILL TYPE normal >/dev/null || log "the connections to $old were not closed once more"
}

may_take_over() { # on failure, reason
    info=$(ask "$ME" INFO replication) || { reason="it does not answer" && return 1; }
    # With priority 0 it waits for its first sync, or for peers that may have more.
    if [ "$(echo "$info" | info_field slave_priority)" = 0 ]; then reason="its priority is 0" && return 1; fi
    link=$(echo "$info" | info_field master_link_status)
    if [ "$link" != up ]; then reason="it is not in sync: its link is ${link:-not there}" && return 1; fi
}

if [ -n "$target" ]; then
    if [ "$(role_of "$ME")" = master ]; then log "the master already" && exit 0; fi
    begun=$(now_ms)
    until may_take_over; do
        [ $(($(now_ms) - begun)) -le $((PREPARE_S * 1000)) ] || give_up "this node cannot take over: $reason"
        sleep 0.2
    done
    echo $$ >"$RUN_DIR/handover.pid"
    prefer "$target" || give_up "this node does not answer"
elif [ $# -gt 0 ]; then
    mine=yes
    if [ "$(role_of "$ME")" != master ]; then log "not the master: nothing to hand over" && exit 0; fi
fi

begun=$(now_ms)
fences=0
until prepare && fence; do
    if [ -n "$fenced" ]; then log "fence $fences of $FENCES failed: $reason"; fi
    unfence
    [ $(($(now_ms) - begun)) -le $((PREPARE_S * 1000)) ] || give_up "$reason"
    [ -n "$answers" ] || give_up "no Sentinel answers at all"
    [ "$fences" -lt "$FENCES" ] || give_up "$reason"
    sleep 0.2
done
order "$leader" || give_up "$leader refused SENTINEL FAILOVER"
# From here on the old master is being replaced, whatever becomes of this script: its writers wait, and then are refused.
trap 'guarded="" fenced=""; exit 1' HUP INT TERM

late=""
asked=$(now_ms)
heard=$asked
# shellcheck disable=SC2086
until new=$(promoted_among $target $replicas) && [ -n "$new" ]; do
    [ $(($(now_ms) - asked)) -le "$PROMOTE_MS" ] || give_up "$leader promoted nobody within $((PROMOTE_MS / 1000)) s"
    if [ "$(left)" -lt $((FENCE_MS / 2)) ]; then breathe; fi
    if [ $(($(now_ms) - heard)) -gt 300 ]; then
        if has_ended "$leader"; then lead_again; fi
        heard=$(now_ms)
    fi
done
demote || log "could not demote $old: the Sentinels will, and its writers wait or are refused until then"
trap 'exit 1' HUP INT TERM
fenced=""
fenced_ms=$(($(now_ms) - fence_begun))

until settled; do
    if [ $(($(now_ms) - fence_begun)) -gt $((SETTLE_S * 1000)) ]; then
        log "the master moved from $old to $new, but $reason"
        close_connections
        guarded="" # its node lifts it: here nobody knows what it follows
        exit 1
    fi
    sleep 0.1
done
unfence # of the guard, where it was not demoted by us
close_connections
new_epoch=$(views | awk -v new="$new" '$1 == new && $2 > most { most = $2 } END { print most }')
if [ -z "$new_epoch" ]; then
    log "the master moved from $old to $new, and no Sentinel that answers says so any more"
    exit 1
fi
echo "old=$old new=$new fenced_ms=$fenced_ms total_ms=$(($(now_ms) - begun)) epoch_before=$epoch epoch=$new_epoch"
if [ -n "$target" ] && [ "$new" != "$target" ]; then
    log "the master moved from $old to $new, not to $target"
    exit 1
fi
if [ -n "$late" ]; then
    log "the master moved from $old to $new, but the fence ended before it was renewed: writes in between may be lost"
    exit 1
fi
