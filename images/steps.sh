# shellcheck shell=bash
# Sourced by the scripts that prepare a machine: one line per step, its output in a log, the log's tail if it fails.

STATE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.state
BASE_IMAGE=$STATE/base/python.tar
mkdir -p "$STATE/log"

# base_is_fresh : is the base image newer than its recipe?
base_is_fresh() {
    local recipe=${BASH_SOURCE[0]%/*}/python part
    for part in "$recipe"/*.{sh,py}; do
        [ "$BASE_IMAGE" -nt "$part" ] || return 1
    done
}

# step TEXT COMMAND... : run a command quietly, and report what it does and how long it took.
step() {
    local text=$1 log began=$SECONDS
    shift
    log=$STATE/log/$(tr -cs '[:alnum:]\n' - <<<"$text").txt
    printf '%s ... ' "$text" >&2
    if "$@" >"$log" 2>&1 </dev/null; then
        printf 'done (%d s)\n' $((SECONDS - began)) >&2
    else
        printf 'failed\n' >&2
        tail -n 25 "$log" >&2
        printf 'the whole log: %s\n' "$log" >&2
        return 1
    fi
}

# alone NAME : wait for the lock NAME and hold it until this script ends. Children that outlive the script would inherit it,
# so only scripts that leave nothing running take it.
alone() {
    exec 9>"$STATE/$1.lock"
    flock -n 9 && return
    printf 'waiting for another run that holds %s\n' "$STATE/$1.lock" >&2
    flock 9
}
