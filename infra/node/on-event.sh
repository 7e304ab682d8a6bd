#!/bin/sh
# Sentinel's notification script: on-event.sh EVENT DESCRIPTION, with this Sentinel's environment.
#
# A promoted replica takes writes only once a replica is attached to it (min-replicas-to-write), and the Sentinel that
# leads a failover tells the other replicas only when it sees the promotion in its next INFO, up to a second later.
# So, when a replica was selected, wait until it says role:master and tell the others at once, which is nothing but what
# that Sentinel will tell them. A failover that is aborted leaves the selected one a replica, and nothing is done.
set -eu
[ "$1" = +selected-slave ] || exit 0
here=$(dirname "$0")
# shellcheck source=infra/node/lib.sh
. "$here/lib.sh"
load_node_env "$NODE_ENV"

# slave NAME IP PORT @ MASTER_NAME OLD_IP OLD_PORT
# shellcheck disable=SC2086
set -- $2
new="$3:$4" old="$7:$8"

begun=$(now_ms)
until [ "$(role_of "$new")" = master ]; do
    [ $(($(now_ms) - begun)) -lt 3000 ] || exit 0
    sleep 0.02
done
for node in $DATA_NODES; do
    if [ "$node" = "$new" ] || [ "$node" = "$old" ] || [ "$(role_of "$node")" != slave ]; then continue; fi
    ask "$node" REPLICAOF "${new%:*}" "${new##*:}" >/dev/null && log "$new is the master: $node follows it"
done
