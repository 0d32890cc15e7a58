#!/usr/bin/env bash
#
# Lists the open notes (TODO, FIXME, XXX) of a folder.
#
# usage: run.sh [FOLDER]        (default: the examples beside this script)
#
# The summary is printed, and kept in $NOTES_CACHE/open-notes.md
# (default: ~/.claude/cache).

set -euo pipefail

HERE="$(cd "$(dirname "$0")" && pwd)"
FOLDER="${1:-$HERE/examples}"
CACHE="${NOTES_CACHE:-$HOME/.claude/cache}"

# Folders that hold other people's code, or none.
SKIP=(.git .hg .svn node_modules vendor target dist build __pycache__ .venv)

usage() {
    sed -n '3,8s/^# \{0,1\}//p' "$0"
}

# --- options -----------------------------------------------------------------

case "${1:-}" in
-h | --help)
    usage
    exit 0
    ;;
esac

if [ ! -d "$FOLDER" ]; then
    printf 'run.sh: %s: no such folder\n' "$FOLDER" >&2
    usage >&2
    exit 2
fi

# --- a place to work in, which goes away with us -----------------------------

WORK="$(mktemp -d)"
trap 'rm -rf "$WORK"' EXIT

# --- finding -----------------------------------------------------------------

# Prints "file:line:text" for every note.
find_notes() {
    local exclude=() name
    for name in "${SKIP[@]}"; do
        exclude+=("--exclude-dir=$name")
    done
    # grep ends with 1 when it finds nothing, which is good news.
    grep -rInE '\b(TODO|FIXME|XXX)\b' "${exclude[@]}" "$FOLDER" || [ $? -eq 1 ]
}

# Prints "kind <tab> file <tab> line <tab> note", in the order of files and lines.
sort_notes() {
    awk -v root="$FOLDER/" '
        {
            file = $0; sub(/:[0-9]+:.*/, "", file)
            rest = substr($0, length(file) + 2)
            line = rest; sub(/:.*/, "", line)
            text = substr(rest, length(line) + 2)
            kind = match(text, /FIXME/) ? "FIXME" : match(text, /XXX/) ? "XXX" : "TODO"
            sub(".*" kind "[ :]*", "", text)
            if (index(file, root) == 1) file = substr(file, length(root) + 1)
            printf "%s\t%s\t%d\t%s\n", kind, file, line, text
        }
    ' | sort -t "$(printf '\t')" -k 2,2 -k 3,3n
}

# --- main --------------------------------------------------------------------

main() {
    find_notes >"$WORK/found"
    sort_notes <"$WORK/found" >"$WORK/notes"
    awk -v folder="$(basename "$FOLDER")" -f "$HERE/scripts/summary.awk" "$WORK/notes" >"$WORK/summary.md"

    # Written beside its place and moved: a reader never sees half of it.
    mkdir -p "$CACHE"
    cp "$WORK/summary.md" "$CACHE/.open-notes.$$"
    mv "$CACHE/.open-notes.$$" "$CACHE/open-notes.md"

    cat "$CACHE/open-notes.md"
    printf '\nKept in %s\n' "$CACHE/open-notes.md"
}

main
