#!/bin/sh
# What this node's own server answers, for whoever cannot reach it over the network: answers.sh NODE_ENV COMMAND...
# Each COMMAND is one argument, its words separated by blanks. A reply is a line of JSON, a refusal `error:` and a string,
# INFO its own lines; after each reply comes a line with nothing but a dot.
# Exit 1: no answer to one of them, for the reason that is printed.
set -eu
here=$(dirname "$0")
# shellcheck source=infra/node/lib.sh
. "$here/lib.sh"
load_node_env "$1"
shift
set -f # a command's words are no patterns

at="${LOCAL_HOST:-$NODE_HOST}"
for command; do
    # Not by `ask`, for which a refusal is no answer.
    # shellcheck disable=SC2086
    reply=$(timeout "$ASK_TIMEOUT_S" "$CLI" ${CLI_FLAGS:-} --no-auth-warning --user operator \
        -h "$at" -p "$NODE_PORT" -2 --json $command 2>&1) || {
        status=$?
        if timed_out "$status"; then reply="no answer within $ASK_TIMEOUT_S s"; fi
        echo "$command: ${reply:-status $status}"
        exit 1
    }
    printf '%s\n.\n' "$reply"
done
