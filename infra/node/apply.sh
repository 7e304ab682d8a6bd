#!/bin/sh
# Makes a running node use its files as they are now, without a restart: apply.sh NODE_ENV
# Users and passwords by ACL LOAD, everything else by CONFIG SET or SENTINEL SET.
#
# A step is done when the node has said so, for each command of it. One that loads its data or is slow is asked again,
# for APPLY_TIMEOUT_S: every step may be done twice. Exit 1: something was refused, or it has not answered by then.
# A node whose server does not run reads its files when it starts: exit 0.
set -eu
here=$(dirname "$0")
# shellcheck source=infra/node/lib.sh
. "$here/lib.sh"
load_node_env "$1"
note_who_leaves

APPLY_TIMEOUT_S=${APPLY_TIMEOUT_S:-60}
begun=$(now_ms)

try_again_or_give_up() {
    if [ $(($(now_ms) - begun)) -gt $((APPLY_TIMEOUT_S * 1000)) ]; then
        log "gave up after $APPLY_TIMEOUT_S s: $reason"
        exit 1
    fi
    sleep 0.2
}

server_runs() { kill -0 "$(cat "$RUN_DIR/server.pid" 2>/dev/null)" 2>/dev/null; }

answers() { # on failure, reason
    case $(answer_of "$ME") in
        well) return 0 ;;
        loading) reason="it still loads its data" ;;
        slow) reason="it does not answer in time" ;;
        absent)
            # One that has just been launched may have read the files of before.
            if ! server_runs; then log "does not run: it reads its files when it starts" && exit 0; fi
            reason="its server runs, but nobody listens at $ME"
            ;;
        refused)
            log "refused: the running server takes another password of user operator than $CONF_DIR has; fix: set the one before again, then make rotate"
            exit 1
            ;;
    esac
    return 1
}

settings() { # CONFIG SET lines from redis.conf and auth.conf
    awk '$1 !~ /^(bind|port|tls-port|daemonize|)$/ {
        value = substr($0, length($1) + 2)
        if (value !~ /^"/) value = "\"" value "\""
        print "CONFIG SET", $1, value
    }' "$CONF_DIR/redis.conf" "$CONF_DIR/auth.conf" | without_a_fence_too_early
}

# A standalone node that becomes a master with replicas must not refuse writes until they have come.
without_a_fence_too_early() {
    if [ -e "$HELD" ]; then
        log "min-replicas-to-write waits: this master has just taken the role"
        grep -v -E '^CONFIG SET (min-replicas-to-write|repl-diskless-sync-delay) '
        return
    fi
    wanted=$(declared min-replicas-to-write)
    max_lag=$(declared min-replicas-max-lag)
    # Counted as the server counts: one that vanished without a word stays online for a minute, but its lag grows.
    in_sync=$(echo "$info" | sed -n 's/^slave[0-9]*:.*state=online.*,lag=\([0-9]*\).*/\1/p' |
        awk -v most="$max_lag" '$1 <= most { count++ } END { print count + 0 }')
    if [ "$in_sync" -ge "$wanted" ] || [ "$(echo "$info" | info_field role)" = slave ]; then
        cat
    else
        log "min-replicas-to-write waits: $in_sync replicas in sync, $wanted wanted"
        grep -v 'CONFIG SET min-replicas-to-write '
    fi
}

# What closes connections is done only for a file that changed: before 7.2 ACL LOAD closes those of every user, and a
# Sentinel drops its own for a password. Taken is what was there when it was told, not what was written meanwhile.
tell_changed() { # tell_changed FILE WHAT COMMAND: unless the file is as it was when the node took it
    if cmp -s "$CONF_DIR/$1" "$RUN_DIR/$1.loaded"; then return 0; fi
    cp "$CONF_DIR/$1" "$RUN_DIR/$1.new"
    give_orders "$2" "$($3)" || return 1
    mv "$RUN_DIR/$1.new" "$RUN_DIR/$1.loaded"
}

load_users() { echo "ACL LOAD"; }

steps() { # on failure, reason
    tell_changed users.acl "users and passwords" load_users || return 1
    if [ "$NODE_KIND" = sentinel ]; then
        give_orders "settings" "$(sentinel_settings)" || return 1
        tell_changed sentinel.conf "its passwords" sentinel_passwords
    else
        info=$(ask "$ME" INFO replication) || { reason="it does not answer in time" && return 1; }
        give_orders "settings" "$(settings)" || return 1
        give_orders "certificates" "$(certificate_settings)"
    fi
}

until answers && steps; do
    case $reason in refused*) log "$reason" && exit 1 ;; esac
    try_again_or_give_up
done
log "applied"
