# shellcheck shell=sh
# What the node scripts share. POSIX sh and the server's own CLI are all that the official images have, so these
# scripts use nothing else and serve every target alike.
#
# node.env (see infra/node_config.py) tells who this node is; its target adds where things are:
#   CONF_DIR  rendered files, never written here     DATA_DIR  the data set, Sentinel's state
#   RUN_DIR   this start's files: pid, final config   SERVER, CLI  the programs
#   LOCAL_HOST  where the node reaches itself, if that is not the address that it announces
# With TLS=yes, CONF_DIR also has node.crt, node.key and ca.crt, and the CLI gets CLI_FLAGS.
umask 077

ASK_TIMEOUT_S=1 # a stopped or black-holed peer costs this much, no more
ELECTION_TIMEOUT_MS=2000 # for a Sentinel's votes. A peer that takes longer to answer is about to enter TILT anyway.

log() { echo "$(date '+%Y-%m-%dT%H:%M:%S%z') ${NODE_NAME:-operator} ${0##*/}: $*" >&2; }

now_ms() { # a monotonic clock in ms (resolution 10), without starting a program
    read -r up _ </proc/uptime
    cs=${up#*.}
    echo $((${up%.*} * 1000 + ${cs#0} * 10))
}

load_node_env() {
    # shellcheck disable=SC1090
    . "$1"
    SERVER=${SERVER:-$(command -v valkey-server || command -v redis-server)}
    CLI=${CLI:-$(command -v valkey-cli || command -v redis-cli)}
    # shellcheck disable=SC2034
    ME="$NODE_HOST:$NODE_PORT"
    if [ "$TLS" = yes ]; then CLI_FLAGS="--tls --cacert $CONF_DIR/ca.crt"; fi
    use_operator_password "$CONF_DIR/operator.password"
}

use_operator_password() { # the CLI reads it from the environment: it never is an argument
    REDISCLI_AUTH=$(cat "$1")
    export REDISCLI_AUTH
}

ask() { # ask HOST:PORT COMMAND...: the reply, or failure within ASK_TIMEOUT_S. Without a command: commands from stdin.
    at=$1
    shift
    # A pod's own Service may lead back to it, or not: that is up to the cluster's network.
    if [ "$at" = "${ME:-}" ]; then at="${LOCAL_HOST:-${at%:*}}:${at##*:}"; fi
    # shellcheck disable=SC2086
    timeout "$ASK_TIMEOUT_S" "$CLI" ${CLI_FLAGS:-} -e --no-auth-warning --user operator \
        -h "${at%:*}" -p "${at##*:}" "$@" 2>/dev/null
}

timed_out() { # timed_out STATUS: what `ask` returned means that no answer came in time. 143 is what busybox makes of it.
    [ "$1" = 124 ] || [ "$1" = 143 ]
}

role_of() { # master, slave, or nothing when it does not answer
    # shellcheck disable=SC2046
    set -- $(ask "$1" ROLE)
    case ${1:-} in master | slave) echo "$1" ;; esac
}

info_field() { # info_field FIELD <INFO
    sed -n "s/^$1://p" | head -n 1 | tr -d '\r'
}

field_of() { # field_of NAME <the alternating lines of SENTINEL MASTER
    awk -v name="$1" 'NR % 2 { key = $0; next } key == name { print; exit }'
}

replicas_by() { # replicas_by SENTINEL: a line each: HOST:PORT FLAGS LINK_TO_ITS_MASTER PRIORITY MS_SINCE_IT_SAID_SO
    ask "$1" SENTINEL REPLICAS "$MASTER_NAME" | awk 'NR % 2 { key = $0; next }
        { value[key] = $0 }
        key == "slave-priority" {
            print value["ip"] ":" value["port"], value["flags"], value["master-link-status"], $0, value["info-refresh"]
        }'
}

master_by() { # the master's HOST:PORT as one Sentinel knows it, or nothing
    ask "$1" SENTINEL GET-MASTER-ADDR-BY-NAME "$MASTER_NAME" | paste -s -d : - | grep -E '^[^ :]+:[0-9]+$' || true
}

votes() { # what each Sentinel that answers says, a line each
    for sentinel in $SENTINELS; do master_by "$sentinel"; done
}

majority() { # the vote that more than half of all declared Sentinels gave, or nothing <votes
    sort | uniq -c | sort -rn | head -n 1 | {
        read -r count address || exit 0
        # shellcheck disable=SC2086
        set -- $SENTINELS
        if [ "$count" -gt $(($# / 2)) ]; then echo "$address"; fi
    }
}

elected_master() { votes | majority; }

views() { # what each Sentinel that answers says of the master, a line each: HOST:PORT EPOCH FLAGS. All are asked at once.
    for sentinel in $SENTINELS; do
        printf 'SENTINEL GET-MASTER-ADDR-BY-NAME %s\nSENTINEL MASTER %s\n' "$MASTER_NAME" "$MASTER_NAME" |
            ask "$sentinel" | awk 'NR == 1 { host = $0 } NR == 2 { port = $0 } NR > 2 && NR % 2 { key = $0; next }
                { value[key] = $0 }
                END { if (port ~ /^[0-9]+$/) print host ":" port, value["config-epoch"], value["flags"] }' &
    done
    wait
}

await_witness() { # what the last server's witness notes at its end comes before whatever is done to its files next
    witness_pid=$(cat "$RUN_DIR/witness.pid" 2>/dev/null) || return 0
    since=$(now_ms)
    while grep -q witness.sh "/proc/$witness_pid/cmdline" 2>/dev/null; do
        if [ $(($(now_ms) - since)) -gt 3000 ]; then kill -KILL "$witness_pid" 2>/dev/null || true; fi
        sleep 0.05
    done
}

sentinel_settings() { # the commands that give a running Sentinel what was declared since its own file was seeded
    # shellcheck disable=SC2086
    printf "SENTINEL SET $MASTER_NAME %s %s\n" $SENTINEL_OPTIONS
    # Sentinel looks for new replicas, their priority and offset every 10 s: too seldom for a deployment that wants
    # to survive a failure in its first seconds. It asks the others about a dead master once a second, and waits for
    # votes for 10 s. What follows when they are too few: on-event.sh.
    echo "SENTINEL DEBUG info-period 1000 ask-period 250 election-timeout $ELECTION_TIMEOUT_MS"
}

sentinel_passwords() { # the same for its passwords; a Sentinel drops its connections for each
    awk '$2 ~ /^auth-(user|pass)$/ { print "SENTINEL SET", $3, $2, $4 }
         $2 ~ /^sentinel-(user|pass)$/ { print "SENTINEL CONFIG SET", $2, $3 }' "$CONF_DIR/sentinel.conf"
}

tls_paths() { # directives, a line each: where the server finds its certificate. Nothing without TLS.
    if [ "$TLS" = yes ]; then
        printf '%s "%s"\n' tls-cert-file "$CONF_DIR/node.crt" tls-key-file "$CONF_DIR/node.key" \
            tls-ca-cert-file "$CONF_DIR/ca.crt"
    fi
}

certificate_settings() { # the command that makes a running data node read its certificate files again: all or none
    # A Sentinel has no such command (seen on 7.0.15): it must be restarted.
    if [ "$TLS" = yes ] && [ "$NODE_KIND" = data ]; then echo "CONFIG SET $(tls_paths | paste -s -d ' ' -)"; fi
}
