#!/bin/sh
# Is this node well? probe.sh NODE_ENV live|alive|ready|settled|in_place
#   live   the server answers; loading a data set or syncing is life, and never a reason for a restart
#   alive  live, or it reads its data set, or the node still waits for the decision with which it starts its server
#   ready  a master that the Sentinels name, or a replica in sync; a Sentinel that sees a quorum
#   in_place  ready, or it has no data and waits for its first decision: whoever deploys it goes on to the Sentinels
#   settled  ready, or it never belonged to a deployment yet, and so has nobody to wait for; or it waits for nodes that are
#            down, for no data node is a master
set -eu
here=$(dirname "$0")
# shellcheck source=infra/node/lib.sh
. "$here/lib.sh"
load_node_env "$1"

live() {
    # The reply may be an error (LOADING, MASTERDOWN): any reply is a sign of life.
    [ -n "$(ask "$ME" PING)" ]
}

alive() { # it may end to read just after it did not answer: then it does
    [ ! -e "$RUN_DIR/server.pid" ] || live || reads_its_data || live
}

# A server that loads an append-only file looks after its clients every 1024 commands only: with slow ones in it, nobody
# gets an answer for longer than a probe waits. The file being open for reading is a sign of life without its help.
reads_its_data() {
    # shellcheck disable=SC2010
    ls -l "/proc/$(cat "$RUN_DIR/server.pid")/fd" 2>/dev/null | grep -qE '^lr-x.* -> .*\.(rdb|aof)( \(deleted\))?$'
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

in_place() {
    if ready; then return; fi
    [ "$NODE_KIND" = data ] && never_served
}

never_served() {
    [ ! -e "$RUN_DIR/server.pid" ] && [ ! -e "$DATA_DIR/dump.rdb" ] && [ ! -e "$DATA_DIR/appendonlydir" ] &&
        [ ! -e "$DATA_DIR/reach" ]
}

nobody_serves() { # then a node waits for the others to tell what they have, and whoever deploys starts them next
    for node in $DATA_NODES; do
        if [ "$(role_of "$node")" = master ]; then return 1; fi
    done
}

settled() {
    if ready; then return; fi
    if [ "$NODE_KIND" = sentinel ]; then
        # A Sentinel that met peers once keeps them in its file.
        live && ! grep -q '^sentinel known-sentinel ' "$DATA_DIR/sentinel.conf"
    elif [ -z "$(votes)" ]; then
        return # no Sentinel answers: whoever deploys starts them after the data nodes
    else
        never_served || nobody_serves
    fi
}

"$2"
