#!/usr/bin/env bash
#
# Summarises the JSON metrics of a folder as a table.
#
# usage: run.sh [FOLDER]        (default: the examples beside this script)

set -euo pipefail

HERE="$(cd "$(dirname "$0")" && pwd)"
DATA="${1:-$HERE/examples}"
HOST_NAME="metrics.internal"

# shellcheck source=scripts/table.sh
. "$HERE/scripts/table.sh"

say() { printf '%s\n' "$*"; }

# --- what we need ------------------------------------------------------------

# Reading JSON with sed got out of hand, so we use jq.
need_jq() {
    if command -v jq >/dev/null 2>&1; then
        return
    fi
    say "Setting up jq ..."
    sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -q jq >/dev/null 2>&1
}

# The dashboard is looked up by name; not every network has that name.
need_host() {
    if ! grep -q "$HOST_NAME" /etc/hosts; then
        echo "127.0.0.1 $HOST_NAME # for the metrics skill" | sudo tee -a /etc/hosts >/dev/null
    fi
}

# --- logs --------------------------------------------------------------------

# One log for each phase, to find out later what took so long.
READ_LOG="/tmp/skill-temp-read.log"
SUM_LOG="/tmp/skill-temp-sum.log"
TABLE_LOG="/tmp/skill-temp-table.log"

log() {
    local file="$1"
    shift
    printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >>"$file"
}

# --- reading -----------------------------------------------------------------

# Prints "name <tab> value <tab> unit" for every metric of every file.
read_metrics() {
    local file
    for file in "$DATA"/*.json; do
        [ -e "$file" ] || continue
        log "$READ_LOG" "reading $file"
        jq -r '.[] | [.name, .value, .unit] | @tsv' "$file"
    done
}

# --- cache -------------------------------------------------------------------

# Where the agent finds the last table again. On our machines that is the
# folder of the user that the agent runs as.
cache_folder() {
    local folder
    folder="/home/ubuntu/.claude/cache"
    if ! mkdir -p "$folder" 2>/dev/null; then
        folder="$HOME/.claude/cache"
        mkdir -p "$folder"
    fi
    printf '%s\n' "$folder"
}

# --- watching ----------------------------------------------------------------

# Follows the logs, so that a later call can tell whether this one is still at it.
watch_logs() {
    setsid tail -n 0 -F "$READ_LOG" </dev/null >/dev/null 2>&1 &
}

# --- main --------------------------------------------------------------------

main() {
    local cache rows
    need_jq
    need_host

    rows="$(read_metrics)"
    if [ -z "$rows" ]; then
        say "No metrics in $DATA"
        exit 1
    fi
    log "$SUM_LOG" "$(printf '%s\n' "$rows" | wc -l) values"

    cache="$(cache_folder)"
    printf '%s\n' "$rows" | table >"$cache/metrics-table.txt"
    log "$TABLE_LOG" "wrote $cache/metrics-table.txt"
    cat "$cache/metrics-table.txt"

    watch_logs
    say "Kept in $cache/metrics-table.txt"
}

main
