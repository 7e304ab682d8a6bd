# shellcheck shell=sh
# How far a data set reaches, in one word that two nodes can compare:
#
#   EPOCH.GENERATION.OFFSET.STATE.FROM_EPOCH.FROM_GENERATION.FROM_OFFSET.START.REPLID
#
# An offset counts within one master's time: it starts anew when a server starts, and means nothing beside that of another
# time. EPOCH (the Sentinels' config-epoch) and GENERATION (raised when a master starts again in the same epoch) order the
# times. FROM is what the time began with, START the offset of its beginning. EPOCH x: not known, as of a data set that an
# earlier version of these scripts made; it is never more or less than another one.
# STATE: whole, cut (a part of what was there is gone), none, or broken (a server would not load it).
# REPLID is the server's replication id of that time. A note has the node's role instead, for no server restores its id; and
# so has the word of a node that was started, or `newer`: see has_a_part_in.
#
# A node notes it beside its data (witness.sh) with what was in the append-only files then, so that the files tell
# later how far they reach. Only they count: a server with `appendonly yes` never loads dump.rdb. Peers ask each other,
# also while they load: the word stands in an option that any server has and only a cluster's uses.

# A line: the word, bytes in the files at that moment, the most seen, what no file has of the last second's stream, the
# base file, the latest sequence.
NOTE="$DATA_DIR/reach"
AOF="$DATA_DIR/appendonlydir"
BOARD=cluster-announce-hostname
NONE=0.0.0.none.x.0.0.0.-
UNKNOWN=x.0.0.whole.x.0.0.0.-
# A note is up to two seconds old, and the stream has what no file has: PING, the Sentinels' hello (250 bytes a second),
# and 37 bytes for each WAIT.
TOLERANCE=1024
# shellcheck disable=SC2034
{
    PATIENCE_MS=4000 # for those that start too
    LONE_MS=30000    # a master that is named and alone: it may have been replaced just before everybody ended
}

peers() {
    for node in $DATA_NODES; do
        if [ "$node" != "$ME" ]; then echo "$node"; fi
    done
}

state_of() { # state_of REACH
    word=${1#*.*.*.}
    echo "${word%%.*}"
}

in_words() { # in_words REACH: as people read it
    echo "$1" | awk -F. '$4 == "none" { print "no data"; next }
        $4 == "broken" { print "data that does not load"; next }
        $1 == "x" { print "data (how far it reaches is not known)"; next }
        { print "data up to offset " $3 " of epoch " $1 ", generation " $2 ($4 == "cut" ? ", with a part cut off" : "") }'
}

# compare OWN OTHER TOLERANCE [OWN_KEYS OTHER_KEYS]: prints more when the other one has visibly more, less, or same.
# Of the same time, a newer data set is more than one that ended with it, whatever their offsets: see has_a_part_in.
# Keys, where both are loaded, decide what is too close to see: LASTING/ALL, those that never expire first.
compare() {
    echo "$1 $2" | awk -v tolerance="$3" -v own_keys="${4:-}" -v other_keys="${5:-}" '
        function rank(state) { return state == "whole" ? 2 : state == "cut" ? 1 : 0 }
        function answer(difference) { print (difference > 0 ? "more" : difference < 0 ? "less" : "same"); exit }
        {
            split($1, own, "."); split($2, other, ".")
            mine = rank(own[4]); its = rank(other[4])
            if (!mine || !its) answer((its > 0) - (mine > 0))
            if (own[1] == "x" || other[1] == "x") answer(its - mine)
            if (other[1] != own[1]) answer(other[1] - own[1])
            if (other[2] != own[2]) answer(other[2] - own[2])
            newer = (other[9] == "newer") - (own[9] == "newer")
            if (newer && own[9] != "slave" && other[9] != "slave") answer(newer)
            ahead = other[3] - own[3]
            if (ahead > tolerance || ahead < -tolerance) answer(ahead)
            if (its != mine) answer(its - mine)
            if (own_keys == "") answer(0)
            split(own_keys, mine_of, "/"); split(other_keys, its_of, "/")
            if (its_of[1] != mine_of[1]) answer(its_of[1] - mine_of[1])
            answer(its_of[2] == mine_of[2] ? ahead : its_of[2] - mine_of[2])
        }'
}

is_older_than() { # is_older_than EPOCH REACH
    echo "$1 $2" | awk '{ split($2, word, "."); exit !(NF == 2 && word[1] != "x" && word[1] + 0 < $1 + 0) }'
}

# Everybody may end when the Sentinels have noted a promotion and no node has yet. The promoted node is then known by its
# being named in a later epoch than its own, and its data set is newer than what the master before it has, though that may be
# more. It is not newer than what a replica has: who confirmed what it wrote is one of those. So they compare as ever, and
# who turns out to have more is told to be as new.
has_a_part_in() { # has_a_part_in EPOCH REACH: this node, which the Sentinels name
    [ "$(state_of "$2")" = whole ] && is_older_than "$1" "$2"
}

as_newer() { # as_newer REACH
    echo "${1%.*}.newer"
}

ended_before() { # ended_before EPOCH REACH OWN: that data set has no part in the epoch's time, and this node's has
    case ${3##*.} in newer) ;; *) return 1 ;; esac
    case ${2##*.} in slave | newer) return 1 ;; esac
    is_older_than "$1" "$2"
}

tell_to_be_as_new() { # tell_to_be_as_new NODE ITS_REACH OWN
    case ${3##*.} in newer) ask "$1" CONFIG SET "$BOARD" "$(as_newer "$2")" >/dev/null || true ;; esac
}

exceeds() { # exceeds OWN MASTER: a sync from this master would replace something that it never had
    echo "$1 $2" | awk -v tolerance="$TOLERANCE" '{
        split($1, own, "."); split($2, its, ".")
        if (own[4] !~ /whole|cut/ || own[1] == "x" || its[1] == "x") exit 1
        if (own[1] == its[5] && own[2] == its[6]) exit !(own[3] > its[7] + tolerance)
        if (own[1] != its[1]) exit !(own[1] + 0 > its[1] + 0)
        if (own[2] != its[2]) exit !(own[2] + 0 > its[2] + 0)
        exit !(own[3] > its[3] + tolerance)
    }'
}

# look_at NODE: asks it once and sets said_*; fails when it does not answer. said_reach has the offset of now, if what it told
# its peers is of the time that it is in. said_keys: LASTING/ALL. A replica keeps what has expired until its master says so; so
# what a master has let go of since its start counts as there.
look_at() {
    said=$(printf 'INFO\nCONFIG GET %s\n' "$BOARD" | ask "$1" | awk -F: '
        { sub(/\r$/, "") }
        last == "'"$BOARD"'" { board = $0 }
        { last = $0 }
        /^[a-z0-9_]+:/ { info[$1] = $2 }
        /^db[0-9]+:keys=/ { split($2, counts, /[=,]/); keys += counts[2]; expiring += counts[4] }
        END {
            if (info["role"] == "") exit
            if (split(board, word, ".") != 9) board = keys || info["loading"] ? "'"$UNKNOWN"'" : "'"$NONE"'"
            else {
                if (word[9] == info["master_replid"]) word[3] = info["master_repl_offset"]
                else if (word[9] == info["master_replid2"]) word[3] = sprintf("%.0f", info["second_repl_offset"] - 1)
                board = word[1]
                for (i = 2; i <= 9; i++) board = board "." word[i]
            }
            settled = info["aof_enabled"] && !info["aof_rewrite_in_progress"] && !info["aof_rewrite_scheduled"]
            let_go = info["role"] == "master" ? info["expired_keys"] + info["evicted_keys"] : 0
            print info["role"], info["loading"], keys - expiring "/" keys + let_go, board, \
                info["master_link_status"] == "up" ? "up" : "down", \
                info["master_replid"], info["master_repl_offset"], \
                info["master_replid2"], sprintf("%.0f", info["second_repl_offset"] - 1), \
                info["repl_backlog_active"], sprintf("%.0f", info["repl_backlog_first_byte_offset"] - 1), \
                settled && info["aof_last_bgrewrite_status"] == "ok" ? "yes" : "no", \
                info["aof_current_size"], info["aof_buffer_length"], info["aof_base_size"], \
                info["master_host"] ":" info["master_port"]
        }')
    [ -n "$said" ] || return 1
    # shellcheck disable=SC2034
    read -r said_role said_loading said_keys said_reach said_link said_replid said_offset said_replid2 said_parted \
        said_backlog said_begun said_on_disk said_size said_unwritten said_base_size said_master <<SAID
$said
SAID
}

read_manifest() { # sets files, base and top: what a server would load, and the latest sequence. Fails if it names nothing.
    files="" base="" base_seq=0 top=0
    [ -e "$AOF/appendonly.aof.manifest" ] || return 1
    while read -r _ name _ seq _ type _; do
        case $seq in "" | *[!0-9]*) continue ;; esac
        case $type in
            b) base=$name base_seq=$seq ;;
            i) [ "$seq" -le "$top" ] || top=$seq ;;
            *) continue ;;
        esac
        files="$files $name"
    done <"$AOF/appendonly.aof.manifest"
    [ -n "$files" ]
}

all_there() {
    for file in $files; do [ -e "$AOF/$file" ] || return 1; done
}

bytes_in() { # bytes_in FILE...: of the append-only folder. By `ls`, for busybox's `wc` would read them.
    (cd "$AOF" && ls -ln "$@") 2>/dev/null | awk '{ bytes += $5 } END { printf "%.0f\n", bytes }'
}

identity() { # of the base file, with its end: two that were written at different times end in different checksums
    if [ -n "$base" ]; then
        echo "$base:$(bytes_in "$base"):$(tail -c 9 "$AOF/$base" | od -An -tx1 | tr -d ' \n')"
    else
        echo "-"
    fi
}

write_note() { # write_note REACH BYTES SEEN NOISE BASE TOP: whole or not at all
    echo "$* ." >"$NOTE.new" && mv "$NOTE.new" "$NOTE"
}

read_note() { # sets noted and what goes with it; fails without a whole one
    noted="" written=0 seen=0 noise=0 base_then="" top_then=0 end=""
    [ -e "$NOTE" ] && read -r noted written seen noise base_then top_then end <"$NOTE"
    [ "$end" = . ]
}

# What a server would load, before it is started. Sets reach, and holding: the same in words.
# shellcheck disable=SC2034
disk_reach() {
    noise=0
    if ! [ -e "$AOF/appendonly.aof.manifest" ]; then
        reach=$NONE holding="its data is gone"
    elif ! read_manifest || ! all_there; then
        broken "its append-only files are not complete"
    elif ! read_note && ! [ -e "$DATA_DIR/unsynced" ]; then
        reach=$UNKNOWN holding="its data is here"
    elif [ -z "$noted" ] || [ "$(state_of "$noted")" = none ]; then
        # Born empty and not in sync since (an earlier version had a marker for that); or it was, for less than a second.
        if [ "$base_seq" -gt 1 ]; then reach=$UNKNOWN holding="its data is here"; else reach=$NONE holding="its data is gone"; fi
    else
        now=$(identity)
        if [ "$now" = "$base_then" ] && [ "$top" -ge "$top_then" ]; then
            # shellcheck disable=SC2086
            reach_by_bytes "$(bytes_in $files)"
        elif [ "${now%%:*}" = "${base_then%%:*}" ] && is_shorter "$now" "$base_then"; then
            broken "its base file is cut"
        elif [ "$now" != "$base_then" ] && [ "$top" -gt "$top_then" ]; then
            reach=$noted holding="its data is here" # written anew after the note
        else
            reach=$(rejoin "$noted" 0 cut 0 0) holding="its append-only files are not those that it had"
        fi
    fi
}

broken() {
    reach=$(echo "$NONE" | sed 's/none/broken/') holding=$1
}

is_shorter() { # NAME:BYTES:CHECKSUM of two base files
    echo "$1:$2" | awk -F: '{ exit !($2 < $5) }'
}

rejoin() { # rejoin REACH OFFSET STATE EPOCH GENERATION
    echo "$1" | awk -F. -v OFS=. -v offset="$2" -v state="$3" -v epoch="$4" -v generation="$5" \
        '{ $1 = epoch; $2 = generation; $3 = offset; $4 = state; print }'
}

# shellcheck disable=SC2034
reach_by_bytes() { # reach_by_bytes BYTES: the note, and what the files have more or less since
    reach=$(echo "$noted" | awk -F. -v OFS=. -v bytes="$1" -v written="$written" -v seen="$seen" '{
        $3 = sprintf("%.0f", $3 + bytes - written)
        if (bytes < seen) {
            $4 = "cut"
            # What is missing goes back to before the time that it was noted in.
            if ($3 < $8 && $5 != "x") { $3 = sprintf("%.0f", $7 + $3 - $8); $1 = $5; $2 = $6; $5 = "x" }
        }
        print
    }')
    if [ "$(state_of "$reach")" = cut ]; then
        holding="a part of its data is gone ($1 of $seen bytes are there)"
    else
        holding="its data is here"
    fi
}
