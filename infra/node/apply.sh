#!/bin/sh
# Makes a running node use its files as they are now, without a restart: apply.sh NODE_ENV
# Users and passwords by ACL LOAD, everything else by CONFIG SET or SENTINEL SET. Exit 1: something was refused.
set -eu
here=$(dirname "$0")
# shellcheck source=infra/node/lib.sh
. "$here/lib.sh"
load_node_env "$1"

# A node that is not up reads its files when it starts.
ask "$ME" PING >/dev/null || exit 0

settings() { # CONFIG SET lines from redis.conf and auth.conf
    awk '$1 !~ /^(bind|port|tls-port|daemonize|)$/ {
        value = substr($0, length($1) + 2)
        if (value !~ /^"/) value = "\"" value "\""
        print "CONFIG SET", $1, value
    }' "$CONF_DIR/redis.conf" "$CONF_DIR/auth.conf" | without_a_fence_too_early
}

# A standalone node that becomes a master with replicas must not refuse writes until they have come.
without_a_fence_too_early() {
    info=$(ask "$ME" INFO replication) || info=""
    wanted=$(sed -n 's/^min-replicas-to-write //p' "$CONF_DIR/redis.conf")
    max_lag=$(sed -n 's/^min-replicas-max-lag //p' "$CONF_DIR/redis.conf")
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
# Sentinel drops its own for a password.
changed() {
    if cmp -s "$CONF_DIR/$1" "$RUN_DIR/$1.loaded"; then return 1; fi
    cp "$CONF_DIR/$1" "$RUN_DIR/$1.new"
    mv "$RUN_DIR/$1.new" "$RUN_DIR/$1.loaded"
}

{
    if changed users.acl; then echo "ACL LOAD"; fi
    if [ "$NODE_KIND" = sentinel ]; then
        sentinel_settings
        if changed sentinel.conf; then sentinel_passwords; fi
    else
        settings && certificate_settings
    fi
} | ask "$ME" | grep -v '^OK$' | {
    refused=0
    while read -r line; do
        [ -z "$line" ] || { log "refused: $line" && refused=1; }
    done
    exit "$refused"
}
log "applied"
