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
NODE_ENV=$1 # for on-event.sh, which the Sentinel starts
export NODE_ENV

START_TIMEOUT_S=${START_TIMEOUT_S:-600}
SPIN_WINDOW_S=10
UNSYNCED="$DATA_DIR/unsynced" # there: this replica was born empty and has never been in sync

tell_pid() { # tell_pid supervisor|server PID: whole or not at all, for whoever looks at any moment
    echo "$2" >"$RUN_DIR/$1.pid.new"
    mv "$RUN_DIR/$1.pid.new" "$RUN_DIR/$1.pid"
}

mkdir -p "$DATA_DIR" "$RUN_DIR"
tell_pid supervisor $$
rm -f "$RUN_DIR/server.pid" # it stays when a server ends: there, and of no living process, means dead, not undecided
cp "$CONF_DIR/users.acl" "$RUN_DIR/users.acl.loaded"
if [ "$NODE_KIND" = sentinel ]; then cp "$CONF_DIR/sentinel.conf" "$RUN_DIR/sentinel.conf.loaded"; fi
trap 'exit 0' TERM INT # as process 1 of a container a shell ignores what it has no trap for

has_data() {
    [ ! -e "$UNSYNCED" ] && { [ -s "$DATA_DIR/dump.rdb" ] || [ -n "$(ls -A "$DATA_DIR/appendonlydir" 2>/dev/null)" ]; }
}

peers() {
    for node in $DATA_NODES; do
        if [ "$node" != "$ME" ]; then echo "$node"; fi
    done
}

data_at() { # full, empty, or nothing when the peer does not answer
    info=$(ask "$1" INFO) || return 0
    if echo "$info" | grep -qE '^db[0-9]+:keys=|^loading:1'; then echo full; else echo empty; fi
}

# Sets decision to `master`, `replica HOST:PORT` or `wait`, with the reason.
decide() {
    decision='wait'
    elected=$(elected_master)
    if [ -z "$elected" ]; then
        reason="no majority of the Sentinels ($SENTINELS) names a master"
    elif [ "$elected" = "$ME" ]; then
        decide_as_elected
    else
        case $(role_of "$elected") in
            slave) reason="the Sentinels name $elected, which says it is a replica" ;;
            # A master that is down may never return, and then only a replica that runs can be promoted. Following it
            # is safe: should it return empty, it sees the data here and refuses to serve (decide_as_elected).
            *) decision="replica $elected" reason="the Sentinels name $elected" ;;
        esac
    fi
}

decide_as_elected() {
    for peer in $(peers); do
        if [ "$(role_of "$peer")" = master ]; then
            reason="the Sentinels name this node, but $peer says role:master"
            return
        fi
    done
    if has_data; then
        decision=master reason="the Sentinels name this node and its data is here"
        return
    fi
    for peer in $(peers); do
        case $(data_at "$peer") in
            full)
                reason="the Sentinels name this node, but its data is gone and $peer has some: they must promote another"
                return
                ;;
            empty) ;;
            *)
                reason="the Sentinels name this node, but it has no data, and $peer, which may have some, does not answer"
                return
                ;;
        esac
    done
    decision=master reason="a first boot: no data anywhere"
}

await_decision() {
    begun=$(now_ms) said_ms=0 said=""
    while :; do
        decide
        [ "$decision" = wait ] || break
        waited=$(($(now_ms) - begun))
        if [ "$reason" != "$said" ] || [ $((waited - said_ms)) -ge 10000 ]; then
            log "waiting ($((waited / 1000)) s): $reason"
            said=$reason said_ms=$waited
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
    if [ "$MODE" = standalone ]; then decision=master; else await_decision; fi
    config="$RUN_DIR/redis.conf"
    {
        echo "include $CONF_DIR/redis.conf"
        echo "include $CONF_DIR/auth.conf"
        echo "aclfile $CONF_DIR/users.acl"
        echo "dir $DATA_DIR"
        tls_paths
        case $decision in replica*)
            at=${decision#replica }
            echo "replicaof ${at%:*} ${at##*:}"
            # Priority 0 keeps an empty node from being promoted over those that have the data.
            if ! has_data; then
                : >"$UNSYNCED"
                echo "replica-priority 0"
            fi
            ;;
        esac
    } >"$config"
}

become_eligible_when_synced() {
    # Both until they succeed: an answer that came too late once must not leave a replica that is never promoted.
    until [ "$(ask "$ME" INFO replication | info_field master_link_status)" = up ] &&
        [ "$(ask "$ME" CONFIG SET replica-priority 100)" = OK ]; do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    rm -f "$UNSYNCED"
    log "in sync for the first time: may be promoted from now on"
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
        echo "dir $DATA_DIR"
        echo "aclfile $CONF_DIR/users.acl"
        tls_paths
        sed "s/@MASTER_HOST@/${master%:*}/; s/@MASTER_PORT@/${master##*:}/" "$CONF_DIR/sentinel.conf"
        echo "sentinel notification-script $MASTER_NAME $here/on-event.sh"
    } >"$config.new"
    mv "$config.new" "$config"
}

listen_as_declared() { # Sentinel keeps its state in its file; of that, only how it is reached is ours
    transport='^(bind|port|tls-[a-z-]+) '
    {
        grep -E "$transport" "$CONF_DIR/sentinel.conf"
        tls_paths
        grep -vE "$transport" "$config"
    } >"$config.new"
    mv "$config.new" "$config"
}

apply_sentinel_options() { # what was declared since its file was seeded, through the front door
    until ask "$ME" PING >/dev/null; do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.05
    done
    { sentinel_settings && sentinel_passwords; } | ask "$ME" | grep -v '^OK$' | while read -r line; do log "SENTINEL SET: $line"; done
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

if [ "$NODE_KIND" = sentinel ]; then
    configure_sentinel
    "$SERVER" "$config" --sentinel &
else
    configure_data
    "$SERVER" "$config" &
fi
server_pid=$!
tell_pid server "$server_pid"
stopping=""
trap 'stopping=yes; "$here/stop.sh" "$1"' TERM INT
if [ "$NODE_KIND" = sentinel ]; then
    apply_sentinel_options "$server_pid" &
    renew_links_that_spin "$server_pid" &
    watcher=$!
elif [ -e "$UNSYNCED" ] && [ "$decision" != master ]; then
    become_eligible_when_synced "$server_pid" &
fi

# A trapped signal ends `wait` early: the server's own end is what counts.
status=0
while kill -0 "$server_pid" 2>/dev/null; do
    status=0
    wait "$server_pid" || status=$?
done
[ -z "${watcher:-}" ] || kill "$watcher" 2>/dev/null || true
if [ -n "$stopping" ]; then exit 0; fi
log "the server ended by itself, status $status"
exit 1
