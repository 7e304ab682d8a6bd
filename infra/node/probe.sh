#!/bin/sh
# Is this node well? probe.sh NODE_ENV live|ready
#   live   the server answers; loading a data set or syncing is life, and never a reason for a restart
#   ready  a master that the Sentinels name, or a replica in sync; a Sentinel that sees a quorum
set -eu
here=$(dirname "$0")
# shellcheck source=infra/node/lib.sh
. "$here/lib.sh"
load_node_env "$1"

live() {
    # The reply may be an error (LOADING, MASTERDOWN): any reply is a sign of life.
    [ -n "$(ask "$ME" PING)" ]
}

ready() {
    if [ "$NODE_KIND" = sentinel ]; then
        ask "$ME" SENTINEL CKQUORUM "$MASTER_NAME" >/dev/null
        return
    fi
    info=$(ask "$ME" INFO replication) || return 1
    case $(echo "$info" | info_field role) in
        master) [ "$MODE" = standalone ] || [ "$(elected_master)" = "$ME" ] ;;
        slave) [ "$(echo "$info" | info_field master_link_status)" = up ] ;;
        *) return 1 ;;
    esac
}

"$2"
