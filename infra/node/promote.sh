#!/bin/sh
# Leads a failover that plain Sentinel does not begin, from this Sentinel: promote.sh NODE_ENV
#
# Plain Sentinel promotes no replica whose link to the master was down for longer than 10 x down-after plus the time for
# which it has known the master down. Sentinels that were away or in TILT for that long have no master for ever, however
# well the replicas are. SENTINEL FAILOVER asks nobody, and goes by a down-after that is long enough. So this asks first:
#
# 1. the master is down for this Sentinel, and does not answer or is a replica; every replica that it could promote says
#    so itself
# 2. no replica that is away followed the master for longer than the one to be promoted
# 3. a majority sees the master down as well; and votes for this Sentinel, as for any that leads: two never do at once
# 4. a longer down-after, SENTINEL FAILOVER, and as soon as it has chosen, what was declared again
#
# Exit 0: it promotes, or the master is not down. Exit 1: not now, and why on stdout. Nothing is used up by an attempt that ends before the vote.
set -eu
here=$(dirname "$0")
# shellcheck source=infra/node/lib.sh
. "$here/lib.sh"
load_node_env "$1"

FRESH_MS=3000  # how old what a Sentinel knows of a replica may be: three times its info-period
VISIBLY=65536  # bytes: what a replica has more than another, beyond what was on its way when the master ended
CHOOSES_MS=3000

not_now() {
    echo "$*"
    exit 1
}

promotable() { # those that Sentinel could promote if its down-after were long enough <replicas_by
    awk -v fresh="$FRESH_MS" '$2 == "slave" && $4 > 0 && $5 >= 0 && $5 < fresh'
}

says_so() { # says_so REPLICA: what was known of it before it ended says nothing of what it has now
    info=$(ask "$1" INFO replication) || return 1
    [ "$(echo "$info" | info_field role)" = slave ] && [ "$(echo "$info" | info_field slave_priority)" -gt 0 ]
}

# Who followed on after the best of those that are here had lost its master, and has more.
has_more() { # has_more OFFSET MS_LINK_DOWN <replicas_by
    awk -v offset="$1" -v down="$2" -v fresh="$FRESH_MS" -v visibly="$VISIBLY" \
        '($2 != "slave" || $5 >= fresh) && $5 < down - fresh && $7 > offset + visibly { print $1; exit }'
}

asked_for_vote() { # asked_for_vote RUN_ID: each Sentinel's answer on a line: its word on the master, its vote, the vote's epoch
    for sentinel in $SENTINELS; do
        [ "$sentinel" = "$ME" ] || ask_for_vote "$sentinel" "$1" &
    done
}

ask_for_vote() { # ask_for_vote SENTINEL RUN_ID: with * for a run id it is asked for its word alone
    # As Sentinels ask each other: that is their right alone.
    (AS=sentinel REDISCLI_AUTH=$sentinel_password &&
        ask "$1" SENTINEL IS-MASTER-DOWN-BY-ADDR "${old%:*}" "${old##*:}" "$epoch" "$2") | paste -s -d ' ' -
}

enough() { # enough PATTERN <answers: they and this Sentinel are a majority, and as many as the quorum
    agree=$(($(grep -c "$1") + 1)) || agree=1
    # shellcheck disable=SC2086
    all=$(set -- $SENTINELS && echo $#)
    quorum=$(echo "$SENTINEL_OPTIONS" | sed -n 's/.*quorum \([0-9]*\).*/\1/p')
    [ "$agree" -gt $((all / 2)) ] && [ "$agree" -ge "${quorum:-1}" ]
}

chosen() { # it has chosen whom it promotes, or has given up
    case $(ask "$ME" SENTINEL MASTER "$MASTER_NAME" | field_of failover-state) in
        wait_start | select_slave) return 1 ;;
    esac
}

NODE_ENV=$1
take_lock "$RUN_DIR/promote.lock" || not_now "process $holder is at it"
trap 'rm -f "$RUN_DIR/promote.lock"' EXIT
trap 'exit 1' HUP INT TERM

state=$(ask "$ME" SENTINEL MASTER "$MASTER_NAME") || not_now "this Sentinel does not answer"
flags=$(echo "$state" | field_of flags)
case $flags in
    *failover_in_progress*) not_now "a failover is under way" ;;
    *o_down*) ;;
    *) exit 0 ;; # it is not down
esac
old="$(echo "$state" | field_of ip):$(echo "$state" | field_of port)"
[ "$(ask "$ME" INFO sentinel | info_field sentinel_tilt)" = 0 ] || not_now "this Sentinel is in TILT"

known=$(replicas_by "$ME" | ours_among)
candidates=$(echo "$known" | promotable)
[ -n "$candidates" ] || not_now "no replica may be promoted"
for replica in $(echo "$candidates" | cut -d ' ' -f 1); do
    says_so "$replica" || not_now "$replica is not what is known of it"
done
best=$(echo "$candidates" | sort -n -r -k 7 | head -n 1)
offset=${best##* }
down=$(echo "$best" | cut -d ' ' -f 6)
fuller=$(echo "$known" | has_more "$offset" "$down")
[ -z "$fuller" ] || not_now "$fuller, which is away, followed $old for longer than ${best%% *}"
# One that answers as a replica has less than another, and waits for this (start.sh).
case $(answer_of "$old") in absent | slow) ;; *) [ "$(role_of "$old")" = slave ] || not_now "$old answers" ;; esac

sentinel_password=$(sed -n 's/^sentinel sentinel-pass "\(.*\)"$/\1/p' "$CONF_DIR/sentinel.conf")
epoch=$(($(sed -n 's/^sentinel current-epoch //p' "$DATA_DIR/sentinel.conf") + 1))
asked_for_vote '*' | enough '^1 ' || not_now "no majority sees $old down"
me=$(ask "$ME" SENTINEL MYID) || not_now "this Sentinel does not answer"
case $(ask_for_vote "$ME" "$me") in *" $me $epoch") ;; *) not_now "this Sentinel votes for another one" ;; esac
asked_for_vote "$me" | enough "^1 $me $epoch\$" || not_now "no majority votes for this Sentinel in epoch $epoch"

longest=$(echo "$candidates" | cut -d ' ' -f 6 | sort -n | tail -n 1)
: >"$BORROWED"
trap 'give_back; rm -f "$RUN_DIR/promote.lock"' EXIT
ask "$ME" SENTINEL SET "$MASTER_NAME" down-after-milliseconds $((longest / 10 + DOWN_AFTER_MS)) >/dev/null || not_now "this Sentinel does not answer"
answer=$(question "$ME" SENTINEL FAILOVER "$MASTER_NAME" 2>&1) || true
case $answer in OK | INPROG*) ;; *) not_now "SENTINEL FAILOVER: ${answer:-no answer}" ;; esac
log "the links of the replicas were down for up to $((longest / 1000)) s: leading their promotion, elected in epoch $epoch"
begun=$(now_ms)
until chosen || [ $(($(now_ms) - begun)) -gt "$CHOOSES_MS" ]; do sleep 0.05; done
