#!/bin/sh
# Starts this node and stays with it: start.sh NODE_ENV. TERM stops it the planned way (stop.sh).
#
# A data node asks the Sentinels who the master is and never decides that itself; when in doubt it waits, and says why.
# It says so again every 10 s, and after START_TIMEOUT_S it exits 1 for its supervisor to see.
set -eu
here=$(dirname "$0")
# shellcheck source=infra/node/lib.sh
. "$here/lib.sh"
load_node_env "$1"
# shellcheck source=infra/node/reach.sh
. "$here/reach.sh"
NODE_ENV=$1 # for on-event.sh, which the Sentinel starts
export NODE_ENV

START_TIMEOUT_S=${START_TIMEOUT_S:-600}
SPIN_WINDOW_S=10

tell_pid() { # tell_pid supervisor|server PID: whole or not at all, for whoever looks at any moment
    echo "$2" >"$RUN_DIR/$1.pid.new"
    mv "$RUN_DIR/$1.pid.new" "$RUN_DIR/$1.pid"
}

mkdir -p "$DATA_DIR" "$RUN_DIR"
tell_pid supervisor $$
rm -f "$HELD"
rm -f "$RUN_DIR/server.pid" # it stays when a server ends: there, and of no living process, means dead, not undecided
cp "$CONF_DIR/users.acl" "$RUN_DIR/users.acl.loaded"
if [ "$NODE_KIND" = sentinel ]; then cp "$CONF_DIR/sentinel.conf" "$RUN_DIR/sentinel.conf.loaded"; fi
note_who_leaves
trap 'exit 0' TERM INT # as process 1 of a container a shell ignores what it has no trap for

# Sets decision to `master`, `replica HOST:PORT` or `wait`, with the reason.
decide() {
    decision='wait'
    seen=$(views)
    elected=$(echo "$seen" | awk '{ print $1 }' | majority)
    if [ -z "$elected" ]; then
        reason="no majority of the Sentinels ($SENTINELS) names a master"
    elif [ "$elected" = "$ME" ]; then
        decide_as_elected
    elif ! ours "$elected"; then
        reason="the Sentinels name $elected, which was never declared"
    elif look_at "$elected" && [ "$said_role" = slave ] && [ "$said_link" = up ]; then
        reason="the Sentinels name $elected, which says it is a replica"
    else
        # A master that is down may never return, and then only a replica that runs can be promoted. Following it is safe:
        # should it return with less than there is here, it sees that and does not serve (decide_as_elected).
        decision="replica $elected" reason="the Sentinels name $elected"
    fi
}

decide_as_elected() {
    named="the Sentinels name this node"
    epoch=$(echo "$seen" | awk '{ print $1, $2 }' | majority)
    if has_a_part_in "${epoch#* }" "$reach"; then reach=$(as_newer "$reach"); fi
    fullest="" furthest=$reach absent="" whole=1 answered=1 patience=$LONE_MS
    for peer in $(peers); do
        if ! look_at "$peer"; then
            absent="$absent${absent:+ and }$peer"
            continue
        fi
        if [ "$said_role" = master ]; then
            reason="$named, but $peer says role:master"
            return
        fi
        answered=$((answered + 1))
        [ "$(state_of "$said_reach")" != whole ] || whole=$((whole + 1))
        if ended_before "${epoch#* }" "$said_reach" "$reach"; then continue; fi
        if [ "$(compare "$furthest" "$said_reach" "$tolerance")" = more ]; then fullest=$peer furthest=$said_reach; fi
    done
    state=$(state_of "$reach")
    # A key that one more node confirmed is on two of them: of all but one, one has it. For the last one, a moment.
    # shellcheck disable=SC2086
    enough=$(($(set -- $DATA_NODES && echo $#) - 1))
    if [ "$whole" -ge "$enough" ]; then patience=1000; elif [ "$answered" -ge "$enough" ]; then patience=$PATIENCE_MS; fi
    if [ -n "$fullest" ]; then
        tell_to_be_as_new "$fullest" "$furthest" "$reach"
        # As a replica that nobody promotes it tells its peers what it has, so that they can compare themselves.
        decision="replica $fullest"
        reason="$named, but $holding: $(in_words "$reach"), and $fullest has $(in_words "$furthest"): they must promote another"
    elif [ -n "$absent" ] && [ "$state" != whole ]; then
        reason="$named, but $holding, and $absent, which may have some, does not answer"
    elif [ -n "$absent" ] && [ $(($(now_ms) - begun)) -lt "$patience" ]; then
        reason="$named and $holding, but $absent, which may have more, does not answer yet"
    elif [ "$state" = broken ]; then
        reason="$named, but $holding, and nobody has any: see docs/runbook.md"
    elif is_being_replaced; then
        reason="$named, but one of them says $flags of it"
    else
        decision=master
        case $state in
            whole) reason="$named and its data is here" ;;
            cut) reason="$named, and though $holding, nobody has more than its $(in_words "$reach")" ;;
            none) reason="a first boot: no data anywhere" ;;
        esac
    fi
}

# A failover that is on its way is not stopped by a master that returns. One is about to begin where a Sentinel takes this
# node for dead; but if nobody can be promoted, they say so for ever.
is_being_replaced() {
    flags=$(echo "$seen" | sed 's/.* //' | tr ',' '\n' | grep -E '^(failover_in_progress|o_down|s_down)$' | sort | head -n 1)
    case $flags in
        "") return 1 ;;
        failover_in_progress) doubted_ms=0 ;;
        *)
            [ "${doubted_ms:-0}" != 0 ] || doubted_ms=$(now_ms)
            [ $(($(now_ms) - doubted_ms)) -lt 3000 ]
            ;;
    esac
}

await_decision() {
    begun=$(now_ms) said_ms=0 last_reason=""
    while :; do
        load_node_env "$NODE_ENV" 2>/dev/null || true # being written
        decide
        [ "$decision" = wait ] || break
        waited=$(($(now_ms) - begun))
        if [ "$reason" != "$last_reason" ] || [ $((waited - said_ms)) -ge 10000 ]; then
            log "waiting ($((waited / 1000)) s): $reason"
            last_reason=$reason said_ms=$waited
        fi
        if [ "$waited" -gt $((START_TIMEOUT_S * 1000)) ]; then
            log "no decision within $START_TIMEOUT_S s: $reason"
            exit 1
        fi
        sleep 0.1
    done
    log "starting as $decision: $reason"
}

configure_data() {
    if [ "$MODE" = standalone ]; then
        decision=master
    else
        await_witness
        disk_reach
        if [ -n "${DOES_NOT_LOAD:-}" ]; then broken "the server does not load it"; fi
        tolerance=$((TOLERANCE + 3 * noise))
        await_decision
    fi
    config="$RUN_DIR/redis.conf"
    {
        echo "include \"$CONF_DIR/redis.conf\""
        echo "include \"$CONF_DIR/auth.conf\""
        echo "aclfile \"$CONF_DIR/users.acl\""
        echo "dir \"$DATA_DIR\""
        tls_paths
        case $decision in replica*)
            at=${decision#replica }
            keep_what_a_sync_replaces
            echo "replicaof ${at%:*} ${at##*:}"
            # Offsets begin anew with each start, so Sentinel cannot see who has more. witness.sh raises it.
            echo "replica-priority 0"
            ;;
        esac
        if [ "$MODE" = sentinel ]; then echo "$BOARD $reach"; fi
        # As long as a Sentinel has not seen it again, it may still be replaced, and what it acknowledged would be lost. As
        # long as it has not counted its keys, it may have less than a peer, which a sync would replace. See witness.sh.
        if [ "$decision $MODE" = "master sentinel" ]; then
            echo "$tolerance" >"$HELD"
            held_settings
        fi
    } >"$config"
}

keep_what_a_sync_replaces() {
    case $(state_of "$reach") in
        none | broken) if has_files; then set_aside "$holding"; fi ;;
        *)
            if look_at "$at" && [ "$said_role" = master ] && exceeds "$reach" "$said_reach"; then
                set_aside "it has $(in_words "$reach"), which $at, whose data set is of $(in_words "$said_reach"), never had"
            fi
            ;;
    esac
    if [ "$(state_of "$reach")" = none ]; then
        write_note "$NONE" 0 0 0 - 0
        rm -f "$DATA_DIR/unsynced"
    fi
}

has_files() {
    [ -s "$DATA_DIR/dump.rdb" ] || [ -n "$(ls -A "$AOF" 2>/dev/null)" ]
}

set_aside() { # set_aside REASON: the two latest are kept
    folder="$DATA_DIR/set-aside-$(date '+%Y%m%dT%H%M%S')"
    mkdir -p "$folder"
    for file in "$AOF" "$DATA_DIR/dump.rdb" "$NOTE"; do
        if [ -e "$file" ]; then mv "$file" "$folder"; fi
    done
    log "before this node syncs anew, its old files are set aside in $folder (docs/runbook.md): $1"
    reach=$NONE
    set -- "$DATA_DIR"/set-aside-*
    while [ $# -gt 2 ]; do
        rm -rf "$1"
        log "removed $1: the two latest are kept"
        shift
    done
}

# The server's own check of its append-only files is the same program by another name. That a tail is cut off is no reason
# not to load them.
refuses_its_data() {
    check="$RUN_DIR/redis-check-aof.valkey-check-aof"
    ln -sf "$(command -v "$SERVER")" "$check"
    "$check" "$AOF/appendonly.aof.manifest" 2>&1 | grep -qE 'format error|not sane|RDB ERROR|is empty|Cannot open'
}

known_master() { # for a Sentinel without a state of its own: what the others know, else who says so, else the first node
    for sentinel in $SENTINELS; do
        if [ "$sentinel" != "$ME" ]; then
            named=$(master_by "$sentinel")
            if [ -n "$named" ]; then echo "$named" && return; fi
        fi
    done
    for node in $DATA_NODES; do
        if [ "$(role_of "$node")" = master ]; then echo "$node" && return; fi
    done
    echo "${DATA_NODES%% *}"
}

configure_sentinel() {
    config="$DATA_DIR/sentinel.conf"
    if [ -s "$config" ]; then
        listen_as_declared
        return
    fi
    master=$(known_master)
    log "first start of this Sentinel: watching $master"
    {
        places
        sed "s/@MASTER_HOST@/${master%:*}/; s/@MASTER_PORT@/${master##*:}/" "$CONF_DIR/sentinel.conf"
        echo "sentinel notification-script $MASTER_NAME \"$here/on-event.sh\""
    } >"$config.new"
    mv "$config.new" "$config"
}

places() { # where this Sentinel's files are
    echo "dir \"$DATA_DIR\""
    echo "aclfile \"$CONF_DIR/users.acl\""
    tls_paths
}

listen_as_declared() { # Sentinel keeps its state in its file; of that, how it is reached and where its files are is ours
    transport='^(bind|port|tls-[a-z-]+) '
    {
        grep -E "$transport" "$CONF_DIR/sentinel.conf"
        places
        # It may have been moved.
        grep -vE "$transport|^(dir|aclfile|sentinel notification-script) " "$config"
        echo "sentinel notification-script $MASTER_NAME \"$here/on-event.sh\""
    } >"$config.new"
    mv "$config.new" "$config"
}

apply_sentinel_options() { # what was declared since its file was seeded, through the front door, until it has taken it
    said="" reason=""
    until load_node_env "$NODE_ENV" && give_orders "this Sentinel's settings" "$(sentinel_settings && sentinel_passwords)"; do
        kill -0 "$1" 2>/dev/null || return 0
        case $reason in refused*) [ "$reason" = "$said" ] || log "$reason" ;; esac
        said=$reason
        sleep 0.1
    done
    rm -f "$BORROWED"
}

# Linux 6.9 and later keep an ICMP error that came while a connection was made in its socket's queue, also when it was
# made in the end: so answers a Service that has no pod for a moment. Sentinel never reads that queue, and turns its event
# loop for ever (redis/redis#15107, redis/hiredis#1375). New connections have no such error.
renew_links_that_spin() {
    spent=0 second=0
    while sleep 1 && kill -0 "$1" 2>/dev/null; do
        second=$(((second + 1) % SPIN_WINDOW_S))
        [ "$second" = 0 ] || continue
        read -r _ _ _ _ _ _ _ _ _ _ _ _ _ user system _ <"/proc/$1/stat" || return 0
        busy=$((user + system - spent)) # in hundredths of a second
        spent=$((user + system))
        [ "$busy" -ge $((SPIN_WINDOW_S * 25)) ] || continue
        load_node_env "$NODE_ENV" 2>/dev/null || continue
        commands=$(commands_processed)
        sleep 1
        if [ $(($(commands_processed) - commands)) -lt 1000 ]; then
            log "busy for ${busy}0 ms of the last $SPIN_WINDOW_S s, and not with commands: renewing this Sentinel's links"
            sentinel_passwords | ask "$ME" >/dev/null || log "they were not renewed"
        fi
    done
}

commands_processed() {
    count=$(ask "$ME" INFO stats | info_field total_commands_processed)
    echo "${count:-0}"
}

launch() { # launch COMMAND...: the server. It has no use for a password of ours, nor has who reads its environment.
    # A report of a crash shows what clients had sent. watch.sh lets those servers make one that can leave that out.
    stopping=""
    trap 'stopping=early' TERM INT # there is nothing to stop yet, and soon there is
    (unset REDISCLI_AUTH && exec "$@" --crash-log-enabled no --crash-memcheck-enabled no) &
    server_pid=$!
    tell_pid server "$server_pid"
    trap 'stopping=yes; "$here/stop.sh" "$NODE_ENV"' TERM INT
    if [ -n "$stopping" ]; then "$here/stop.sh" "$NODE_ENV"; fi
}

keep() { # keep SCRIPT ARGUMENT...: beside the server for as long as that runs, again should it be killed
    trap 'kill "$kept"; exit 0' TERM
    while kill -0 "$server_pid" 2>/dev/null; do
        "$@" &
        kept=$!
        wait "$kept" || sleep 1
    done
}

if [ "$NODE_KIND" = sentinel ]; then
    configure_sentinel
    launch "$SERVER" "$config" --sentinel
else
    configure_data
    launch "$SERVER" "$config"
fi
if [ "$NODE_KIND" = sentinel ]; then
    apply_sentinel_options "$server_pid" &
    renew_links_that_spin "$server_pid" &
    watcher=$!
elif [ "$MODE" = sentinel ]; then
    rm -f "$RUN_DIR/witness.pid"
    keep "$here/witness.sh" "$NODE_ENV" "$server_pid" &
fi
keep "$here/watch.sh" "$NODE_ENV" "$server_pid" &
mender=$!

# A trapped signal ends `wait` early: the server's own end is what counts. It may have ended by now: so first wait, then look.
status=0
wait "$server_pid" || status=$?
while kill -0 "$server_pid" 2>/dev/null; do
    status=0
    wait "$server_pid" || status=$?
done
# shellcheck disable=SC2086
kill ${watcher:-} $mender 2>/dev/null || true
await_witness
if [ -n "$stopping" ]; then exit 0; fi
log "the server ended by itself, status $status"
if [ "$status" = 1 ] && [ "$NODE_KIND $MODE" = "data sentinel" ] && refuses_its_data; then
    log "it does not load its data"
    DOES_NOT_LOAD=yes exec "$0" "$NODE_ENV"
fi
exit 1
