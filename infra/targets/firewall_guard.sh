#!/bin/sh
# Keeps a stack's nftables tables loaded on this host: at the start of this container, which the engine's restart policy
# ties to the start of the engine, and whenever somebody removes or alters them.
#
# Usage: guard.sh RULES TABLE VERSION
#   RULES  the text for `nft -f`, which replaces the tables in one transaction
#
# It never removes anything: when it stops, or the engine does, the rules stay (fails closed).
set -eu
rules=$1 table=$2 version=$3

# Process 1 ignores a signal that it has no trap for, and would be killed after the grace period.
trap 'exit 0' TERM INT

# Without counters (-s), which change with every packet.
listing() {
    nft -s list table inet "$table" 2>/dev/null || :
    nft -s list table bridge "$table" 2>/dev/null || :
}

# load REASON [CONDITION]: in one transaction. When newer rules came since the look, which takes two questions, the
# condition fails, and nothing of it is done.
load() {
    echo "loading version $version: $1"
    wanted=none
    if { echo "${2:-}" && cat "$rules"; } | nft -f -; then wanted=$(listing); fi
}

wanted=none
while :; do
    current=$(listing)
    case $current in
        "$wanted") ;;
        *"chain version_$version "*)
            load "the tables are not as they were loaded, or this is the start" "delete chain inet $table version_$version"
            ;;
        # An update loads the new rules before it replaces this container: do not put the old ones back.
        *"chain version_"*) ;;
        *"table inet $table "*) load "the table has no version" ;;
        *) load "there are no tables" "create table inet $table" ;;
    esac
    # Asking again and again, not `nft monitor`: an event lost there would leave the host open for good.
    sleep 2 &
    wait $!
done
