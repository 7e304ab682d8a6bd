#!/bin/sh
# Beside a data node's server for as long as it runs: witness.sh NODE_ENV SERVER_PID
#
# It notes how far the data set reaches (reach.sh), every two seconds and when the server has ended, however that was, and
# tells it to the peers. A master that was started serves nobody before it has counted its keys, and gives way to a peer
# that has more; it takes writes once the Sentinels have seen it. A replica was started with priority 0. It may be promoted
# once it is in sync, or, if no master answers, once it has compared itself with enough others and none has more. If the
# Sentinels name this node itself, nobody can promote it: then it takes the role.
set -eu
here=$(dirname "$0")
# shellcheck source=infra/node/lib.sh
. "$here/lib.sh"
load_node_env "$1"
# shellcheck source=infra/node/reach.sh
. "$here/reach.sh"
trap '' TERM INT HUP # it ends with its server
trap 'woken=yes' USR1 # see await_witness
server=$2

NOTE_S=2
MOVING_MS=10000 # for as long a failover that began without this node may end
TELL_MS=5000
begun=$(now_ms)
settled_ms=$begun uncertain_ms=$begun
writable="" eligible="" followed="" counted="" counting_ms="" reach="" told="" told_ms=0 base_noted="" id="" ahead_of="" last_reason=""
if [ -e "$RUN_DIR/witness.pid" ]; then # in the place of one that was killed: this node has long started
    followed=yes
    case $(ask "$ME" CONFIG GET replica-priority | tail -n 1) in "" | 0) ;; *) eligible=yes ;; esac
fi
echo $$ >"$RUN_DIR/witness.pid"
if ! [ -e "$HELD" ]; then writable=yes; fi

runs() { kill -0 "$server" 2>/dev/null; }

say() { # say REASON: once
    if [ "$1" != "$last_reason" ]; then log "$1"; fi
    last_reason=$1
}

# Which time this data set is of: told by the master, and by the Sentinels to a master.
follow_the_time() {
    if [ "$said_replid" = "${reach##*.}" ]; then
        after_epoch=${reach#*.}
        reach="${reach%%.*}.${after_epoch%%.*}.$said_offset.${reach#*.*.*.}"
    elif [ "$said_role" = master ]; then
        # Without a backlog no replica was ever attached: nobody else has a part in this time, and it gets another replid.
        [ "$said_backlog" = 1 ] || return 1
        named=$(views | awk '{ print $1, $2 }' | majority)
        [ "${named% *}" = "$ME" ] || return 1
        reach=$(echo "$reach" | awk -F. -v OFS=. -v epoch="${named#* }" -v replid="$said_replid" -v offset="$said_offset" \
            -v replid2="$said_replid2" -v parted="$said_parted" -v begun="$said_begun" '{
                from = $3; start = begun
                if ($9 == replid2) from = start = parted
                if ($1 == "x" || epoch > $1 + 0) generation = 0
                else { epoch = $1; generation = $2 + 1 }
                print epoch, generation, offset, "whole", $1, $2, from, start, replid
            }')
        log "the master of a time of its own: $(in_words "$reach")"
    else
        [ "$said_link" = up ] || return 1
        replid=$said_replid offset=$said_offset
        look_at "$said_master" && [ "${said_reach##*.}" = "$replid" ] || return 1
        reach=$(echo "$said_reach" | awk -F. -v OFS=. -v offset="$offset" '{ $3 = offset; $4 = "whole"; print }')
    fi
}

note() { # the word and the bytes of one moment, with those that are about to be written
    read_manifest || return 0
    if [ "$base" != "$base_noted" ]; then id=$(identity) base_noted=$base; fi
    # shellcheck disable=SC2086
    bytes=$(bytes_in $files)
    if [ "$size" -lt "$bytes" ]; then bytes=$size; fi
    offset=${reach#*.*.}
    ahead=$((${offset%%.*} - bytes - unwritten)) lost=0
    if [ "$id ${reach##*.}" = "$ahead_of" ] && [ "$ahead" -gt "$ahead_then" ]; then lost=$((ahead - ahead_then)); fi
    ahead_then=$ahead ahead_of="$id ${reach##*.}"
    write_note "${reach%.*}.$role" $((bytes + unwritten)) "$bytes" "$lost" "$id" "$top"
}

note_the_end() { # the most that was ever there: what is missing later was cut off
    if ! read_manifest || ! all_there || ! read_note || [ "$(identity) $top" != "$base_then $top_then" ]; then return 0; fi
    # shellcheck disable=SC2086
    bytes=$(bytes_in $files)
    if [ "$bytes" -gt "$seen" ]; then write_note "$noted" "$written" "$bytes" "$noise" "$base_then" "$top_then"; fi
}

tell_peers() {
    [ "$reach" != "$told" ] || return 0
    # The offset of now is in INFO: it need not be told each time.
    if [ "${reach##*.}" = "${told##*.}" ] && [ $(($(now_ms) - told_ms)) -lt "$TELL_MS" ]; then return 0; fi
    if [ "$(ask "$ME" CONFIG SET "$BOARD" "$reach")" = OK ]; then told=$reach told_ms=$(now_ms); fi
}

set_priority() { # set_priority NUMBER REASON
    if [ "$(ask "$ME" CONFIG SET replica-priority "$1")" = OK ]; then say "$2"; else return 1; fi
}

# Everybody finds the same one, who looks in the same order: not "none has more than I" twice, or never.
find_fullest() { # sets fullest and its_reach, own_reach and own_keys, answered. Fails if somebody is the master.
    fullest="" answered=0
    for node in $DATA_NODES; do
        if ! look_at "$node" || [ "$said_loading" = 1 ]; then continue; fi
        if [ "$said_role" = master ]; then return 1; fi # a sync comes, or the roles are moving
        answered=$((answered + 1))
        if [ "$node" = "$ME" ]; then own_reach=$said_reach own_keys=$said_keys; fi
        if [ -z "$fullest" ] || [ "$(compare "$its_reach" "$said_reach" "$TOLERANCE" "$its_keys" "$said_keys")" = more ]; then
            fullest=$node its_reach=$said_reach its_keys=$said_keys
        fi
    done
}

compare_with_peers() {
    own_reach=""
    find_fullest && [ -n "$own_reach" ] || return 0
    # shellcheck disable=SC2086
    enough=$(($(set -- $DATA_NODES && echo $#) - 1)) # a key that one more confirmed is on two nodes
    uncertain=$(($(now_ms) - uncertain_ms))
    if [ "$(compare "$own_reach" "$its_reach" "$TOLERANCE" "$own_keys" "$its_keys")" = more ]; then
        uncertain_ms=$(now_ms) # should it end now, it may be back soon
        set_priority 0 "may not be promoted: it has $(in_words "$own_reach"), and $fullest has $(in_words "$its_reach")"
    elif [ "$(state_of "$own_reach")" = none ]; then
        say "may not be promoted: it has no data"
    elif [ "$answered" -gt "$enough" ] || { [ "$answered" -ge "$enough" ] && [ "$uncertain" -gt "$PATIENCE_MS" ]; }; then
        may_be_master "no other one has more than $(in_words "$own_reach")"
    elif [ "$uncertain" -gt "$LONE_MS" ] && is_named; then
        may_be_master "nobody else answers, and it has $(in_words "$own_reach")"
    else
        say "may not be promoted yet: it has $(in_words "$own_reach"), and too few others tell what they have (docs/runbook.md)"
    fi
}

is_named() { # the Sentinels name this node: it is not among those that they could promote
    views_now=$(views)
    [ "$(echo "$views_now" | awk '{ print $1 }' | majority)" = "$ME" ]
}

may_be_master() { # may_be_master REASON
    if ! is_named; then
        set_priority "$ORDINARY" "may be promoted: $1"
        return
    fi
    if [ "$(state_of "$own_reach")" != whole ] && [ "$answered" -le "$enough" ]; then
        say "a part of its data is gone, and who may have it does not answer (docs/runbook.md)"
        return
    fi
    case $views_now in *failover_in_progress*) return 0 ;; esac
    log "the Sentinels name this replica, and $1: taking the role"
    echo "$TOLERANCE" >"$HELD"
    writable="" followed="" counted=""
    give_orders "holding" "$(held_settings | sed 's/^/CONFIG SET /')" || { log "$reason" && return 0; }
    ask "$ME" REPLICAOF NO ONE >/dev/null || true
}

become_eligible() {
    if [ "$said_link" = up ]; then
        if set_priority "$ORDINARY" "in sync with $said_master: may be promoted from now on"; then eligible=yes; fi
    else
        compare_with_peers
    fi
}

# It took the role while another one was about to be promoted in its place, as the Sentinels will tell it in a while.
step_back() { # true if it does
    named=$(echo "$views_now" | awk '{ print $1 }' | majority)
    if [ "$named" = "$ME" ]; then
        case $views_now in *failover_in_progress*) named=$(peers) ;; *) return 1 ;; esac
    fi
    for node in $named; do
        if [ "$(role_of "$node")" = master ]; then
            ask "$ME" REPLICAOF "${node%:*}" "${node##*:}" >/dev/null && log "$node was promoted meanwhile: following it"
            return
        fi
    done
    return 1
}

# What a server had not written to its files when it ended, or what one acknowledged that was promoted in the last moment, is
# too little to be seen by offsets, and may be confirmed. So a master counts its keys once it and its peers have loaded them.
has_most_keys() { # of all that answer, once they have loaded theirs. If not, it gives way.
    : "${counting_ms:=$(now_ms)}"
    own_reach=$said_reach own_keys=$said_keys fuller="" loading=""
    tolerance=$(cat "$HELD")
    epoch=$(echo "$views_now" | awk '{ print $1, $2 }' | majority)
    for peer in $(peers); do
        look_at "$peer" || continue
        if [ "$said_loading" = 1 ]; then
            loading=$peer
            continue
        fi
        if ended_before "${epoch#* }" "$said_reach" "$own_reach"; then continue; fi
        # With as many keys, a few bytes more are none.
        if [ "$said_keys" = "$own_keys" ]; then keys=""; else keys="$own_keys $said_keys"; fi
        # shellcheck disable=SC2086
        if [ "$(compare "$own_reach" "$said_reach" "$tolerance" $keys)" = more ]; then
            fuller=$peer its_reach=$said_reach its_keys=$said_keys
        fi
    done
    if [ -n "$fuller" ]; then
        give_way
        return 1
    fi
    if [ -n "$loading" ] && [ $(($(now_ms) - counting_ms)) -lt "$LONE_MS" ]; then
        say "waits for $loading, which may have more keys and still loads them"
        return 1
    fi
    counting_ms=""
    release repl-diskless-sync repl-diskless-sync-delay
}

give_way() { # as a replica that nobody promotes: the Sentinels promote another, for they name this node
    eligible=""
    tell_to_be_as_new "$fuller" "$its_reach" "$own_reach"
    if [ "$(ask "$ME" CONFIG SET replica-priority 0)" = OK ] &&
        ask "$ME" REPLICAOF "${fuller%:*}" "${fuller##*:}" >/dev/null; then
        log "gives way: it has ${own_keys#*/} keys, and $fuller has ${its_keys#*/}: they must promote another"
    fi
}

release() { # release NAME...: what holds this master is as it was declared
    # shellcheck disable=SC2046
    [ "$(ask "$ME" CONFIG SET $(for name in "$@"; do echo "$name $(declared "$name")"; done))" = OK ]
}

let_writes_in() { # to a master, once a majority of the Sentinels has seen it since its start: nobody replaces it then
    if [ "$said_role" = slave ]; then
        # Those that wait for a sync would get it still, also from one that has become a replica meanwhile.
        ask "$ME" CLIENT KILL TYPE slave >/dev/null || return 0
    elif [ "$(echo "$views_now" | awk '{ print $1, $3 }' | majority)" != "$ME master" ]; then
        return 0
    fi
    if release min-replicas-to-write repl-diskless-sync repl-diskless-sync-delay; then
        rm -f "$HELD"
        writable=yes
    fi
}

witness() {
    look_at "$ME" && [ "$said_loading" != 1 ] || return 0
    if [ -z "$reach" ]; then reach=$said_reach told=$said_reach; fi # as its start or the witness before has told it
    if [ "$said_role $said_link" != "slave down" ]; then uncertain_ms=$(now_ms); fi
    if [ "$said_role" = slave ]; then
        followed=yes counted=""
    elif [ -z "$writable" ] || [ $(($(now_ms) - begun)) -lt "$MOVING_MS" ]; then
        views_now=$(views)
        # Not one that a Sentinel has promoted: it and the master before it would follow each other.
        if [ -z "$followed" ] && step_back; then return 0; fi
        if [ -z "$writable" ] && [ -z "$counted" ]; then
            has_most_keys || return 0
            counted=yes
            look_at "$ME" || return 0
        fi
    fi
    if [ -z "$writable" ]; then let_writes_in; fi
    # Until then nobody has a part in this master's time: it is not newer than what its peers have.
    if [ -z "$writable" ] && [ "$said_role" = master ]; then return 0; fi
    if [ -z "$eligible" ] && [ "$said_role" = slave ]; then
        become_eligible
        look_at "$ME" || return 0
    fi
    role=$said_role size=$said_size unwritten=$said_unwritten
    if [ "$said_base_size" = 0 ]; then size=$((size + $(first_base_size))); fi
    # While a data set is written anew, as after a full sync, the files are still those of the old one.
    if [ "$said_on_disk" = yes ] && follow_the_time; then
        note
        tell_peers
        settled_ms=$(now_ms)
    fi
}

first_base_size() { # the first base file of all is not in the server's own count
    if read_manifest && [ -n "$base" ]; then bytes_in "$base"; else echo 0; fi
}

is_moving() { # soon after a start, or when roles have changed
    unsettled=$(($(now_ms) - settled_ms))
    [ $(($(now_ms) - begun)) -lt "$MOVING_MS" ] || { [ "$unsettled" -gt 1500 ] && [ "$unsettled" -lt "$MOVING_MS" ]; }
}

pause_for() { # pause_for SECONDS, or until it is woken
    if [ -n "$woken" ]; then return 0; fi
    sleep "$1" &
    wait $! || kill $! 2>/dev/null || true
}

woken=""
while runs; do
    if load_node_env "$1" 2>/dev/null; then witness || true; fi
    if is_moving; then pause_for 0.4; else pause_for "$NOTE_S"; fi
    woken=""
done
note_the_end
