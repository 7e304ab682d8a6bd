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
# shellcheck disable=SC2034
{
    UNREACHABLE=1000000 # more replicas than anybody has, or seconds to wait: a master that wants so many takes no write
    PREFERRED=1         # replica-priority: the lowest is promoted before all others, but for 0, which never is
    ORDINARY=100
}
ELECTION_TIMEOUT_MS=2000 # for a Sentinel's votes. A peer that takes longer to answer is about to enter TILT anyway.

log() { echo "$(date '+%Y-%m-%dT%H:%M:%S%z') ${NODE_NAME:-operator} ${0##*/}: $*" >&2; }

now_ms() { # a monotonic clock in ms (resolution 10), without starting a program
    read -r up _ </proc/uptime
    cs=${up#*.}
    echo $((${up%.*} * 1000 + ${cs#0} * 10))
}

# Whoever runs for longer than a moment loads it again: passwords are replaced, and nodes come and go, without a restart.
load_node_env() {
    # A shell ends when it cannot read what it is told to; on Docker a file that is replaced is away for a moment.
    if ! [ -r "$1" ]; then echo "$1 cannot be read" >&2 && return 1; fi
    # shellcheck disable=SC1090
    . "$1"
    SERVER=${SERVER:-$(command -v valkey-server || command -v redis-server)}
    CLI=${CLI:-$(command -v valkey-cli || command -v redis-cli)}
    # shellcheck disable=SC2034
    ME="$NODE_HOST:$NODE_PORT"
    # shellcheck disable=SC2034
    BORROWED="$RUN_DIR/borrowed" # there: a script goes by settings of its own at this Sentinel
    # shellcheck disable=SC2034
    HELD="$RUN_DIR/held" # there: this master has taken the role, and serves nobody before witness.sh lets it
    if [ "$TLS" = yes ]; then CLI_FLAGS="--tls --cacert $CONF_DIR/ca.crt"; fi
    use_operator_password "$CONF_DIR/operator.password"
}

use_operator_password() { # the CLI reads it from the environment: it never is an argument
    password=""
    read -r password <"$1" || [ -n "$password" ] || return 1
    REDISCLI_AUTH=$password
    export REDISCLI_AUTH
}

ours() { # ours HOST:PORT: declared, or declared until the latest change. Nobody else is told a password.
    case " ${ME:-} ${DATA_NODES:-} ${SENTINELS:-} " in *" $1 "*) return 0 ;; esac
    leaving | grep -qFx "$1"
}

ours_among() { # of these lines, those that begin with the address of a node that is ours
    while read -r address rest; do
        if ours "$address"; then echo "$address${rest:+ $rest}"; fi
    done
}

# In an `up`, who is declared no longer goes last, and until then may be the master. So they are remembered from the change
# of the declaration until forget.sh, at the end of that `up`: a node may start more than once before. An `up` that never
# came to its end says nothing any more after an hour.
leaving() {
    find "${DATA_DIR:-}/leaving" -mmin -60 -exec cat {} \; 2>/dev/null || true
}

note_who_leaves() {
    leave=$({ cat "$DATA_DIR/declared" 2>/dev/null || true; leaving; } | tr -s ' ' '\n' | sort -u | while read -r node; do
        case " $DATA_NODES $SENTINELS " in *" $node "*) ;; *) echo "$node" ;; esac
    done)
    if [ -z "$leave" ]; then
        rm -f "$DATA_DIR/leaving"
    elif [ "$leave" != "$(cat "$DATA_DIR/leaving" 2>/dev/null)" ]; then
        echo "$leave" >"$DATA_DIR/leaving.new"
        mv "$DATA_DIR/leaving.new" "$DATA_DIR/leaving"
    fi
    echo "$DATA_NODES $SENTINELS" >"$DATA_DIR/declared.new"
    mv "$DATA_DIR/declared.new" "$DATA_DIR/declared"
}

ask() { # ask HOST:PORT COMMAND...: the reply, or failure within ASK_TIMEOUT_S. Without a command: commands from stdin.
    question "$@" 2>/dev/null
}

question() { # the same with what went wrong on stderr: an error reply (to a command from stdin: on stdout), or why there is none
    at=$1
    shift
    # Whoever has the password `replica` can get an address into INFO, and from there into a Sentinel.
    ours "$at" || { echo "$at is not declared" >&2 && return 1; }
    # A pod's own Service may lead back to it, or not: that is up to the cluster's network.
    if [ "$at" = "${ME:-}" ]; then at="${LOCAL_HOST:-${at%:*}}:${at##*:}"; fi
    # shellcheck disable=SC2086
    timeout "$ASK_TIMEOUT_S" "$CLI" ${CLI_FLAGS:-} -e --no-auth-warning --user "${AS:-operator}" \
        -h "${at%:*}" -p "${at##*:}" "$@"
}

timed_out() { # timed_out STATUS: what `ask` returned means that no answer came in time. 143 is what busybox makes of it.
    [ "$1" = 124 ] || [ "$1" = 143 ]
}

answer_of() { # how HOST:PORT answers: well, loading, refused (the login), slow (nothing in time) or absent (nobody listens)
    code=0
    said=$(question "$1" PING 2>&1) || code=$?
    case $said in
        *WRONGPASS* | *NOAUTH* | *NOPERM*) echo refused ;;
        LOADING*) echo loading ;;
        PONG* | MASTERDOWN* | ERR*) echo well ;;
        *) if timed_out "$code"; then echo slow; else echo absent; fi ;;
    esac
}

replies_without_login() { # replies_without_login HOST:PORT: a server is there. It is told no name and no password.
    # shellcheck disable=SC2086
    [ -n "$(unset REDISCLI_AUTH && timeout "$ASK_TIMEOUT_S" "$CLI" ${CLI_FLAGS:-} -h "${1%:*}" -p "${1##*:}" PING 2>/dev/null)" ]
}

give_orders() { # give_orders WHAT ORDERS: done only if each one was answered with OK. On failure, reason: refused, or not answered.
    orders=$(echo "$2" | grep -c .) || return 0 # nothing to tell
    answers=$(echo "$2" | ask "$ME") || true
    taken=$(echo "$answers" | grep -c '^OK$') || true
    [ "$taken" -lt "$orders" ] || return 0
    refused=$(echo "$answers" | grep -v -e '^OK$' -e '^$' | paste -s -d ';' -)
    # shellcheck disable=SC2034
    if [ -n "$refused" ]; then
        reason="refused: $1: $refused"
    else
        reason="$1: $taken of $orders answered within $ASK_TIMEOUT_S s"
    fi
    return 1
}

take_lock() { # take_lock LINK: for this process, as long as it lives. On failure, holder: the process that has it.
    until ln -s $$ "$1" 2>/dev/null; do
        holder=$(readlink "$1") || continue
        if kill -0 "$holder" 2>/dev/null; then return 1; fi
        # One at a time removes what a dead process left: a second one would remove what the first has taken meanwhile.
        : >"$1.$$"
        alone=yes
        for other in "$1".*; do
            if ! kill -0 "${other##*.}" 2>/dev/null; then
                rm -f "$other"
            elif [ "$other" != "$1.$$" ]; then
                alone=""
            fi
        done
        if [ -n "$alone" ] && [ "$(readlink "$1")" = "$holder" ]; then rm -f "$1"; fi
        rm -f "$1.$$"
        [ -n "$alone" ] || return 1
    done
}

declared() { # declared NAME: its value in this data node's redis.conf
    sed -n "s/^$1 //p" "$CONF_DIR/redis.conf"
}

held_settings() { # directives, a line each: a master that takes no writes, and lets replicas that ask for a sync wait
    printf '%s\n' "min-replicas-to-write $UNREACHABLE" "repl-diskless-sync yes" "repl-diskless-sync-delay $UNREACHABLE"
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

replicas_by() { # a line each, as SENTINEL knows it: HOST:PORT FLAGS LINK PRIORITY MS_SINCE_IT_SAID_SO MS_LINK_DOWN OFFSET
    ask "$1" SENTINEL REPLICAS "$MASTER_NAME" | awk 'NR % 2 { key = $0; next }
        { value[key] = $0 }
        key == "slave-repl-offset" {
            print value["ip"] ":" value["port"], value["flags"], value["master-link-status"], value["slave-priority"], \
                value["info-refresh"], value["master-link-down-time"], $0
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
        kill -USR1 "$witness_pid" 2>/dev/null || true # it looks at once
        if [ $(($(now_ms) - since)) -gt 3000 ]; then kill -KILL "$witness_pid" 2>/dev/null || true; fi
        sleep 0.05
    done
}

voted_epoch() { # of this Sentinel's latest vote: for itself when it begins a failover, else for the one that asked
    sed -n "s/^sentinel leader-epoch $MASTER_NAME //p" "$DATA_DIR/sentinel.conf"
}

sentinel_settings() { # the commands that give a running Sentinel what was declared since its own file was seeded
    # shellcheck disable=SC2086
    printf "SENTINEL SET $MASTER_NAME %s %s\n" $SENTINEL_OPTIONS
    # Sentinel looks for new replicas, their priority and offset every 10 s: too seldom for a deployment that wants
    # to survive a failure in its first seconds. It asks the others about a dead master once a second, and waits for
    # votes for 10 s. What follows when they are too few: on-event.sh.
    echo "SENTINEL DEBUG info-period 1000 ask-period 250 election-timeout $ELECTION_TIMEOUT_MS"
}

give_back() { # what was declared, at the end of what was borrowed. Killed before: watch.sh, or this Sentinel's next start
    begun=$(now_ms)
    # It may have been declared anew meanwhile.
    until load_node_env "$NODE_ENV" && give_orders "what was declared" "$(sentinel_settings)"; do
        [ $(($(now_ms) - begun)) -lt 30000 ] || return 0 # it has ended
        sleep 0.1
    done
    rm -f "$BORROWED"
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
