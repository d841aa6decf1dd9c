# shellcheck shell=bash
# Sourced by the scripts that prepare a machine: one line for each step, its noise in a log, the log's tail if it fails.

STATE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.state
BASE_IMAGE=$STATE/base/python.tar
mkdir -p "$STATE/log"

# base_is_fresh : was the base image made after its recipe was last changed?
base_is_fresh() {
    local recipe=${BASH_SOURCE[0]%/*}/python part
    for part in "$recipe"/*.{sh,py}; do
        [ "$BASE_IMAGE" -nt "$part" ] || return 1
    done
}

# step TEXT COMMAND... : say what is being done, do it quietly, say how long it took.
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

# alone NAME : hold the lock NAME until this script ends, waiting for whoever has it. Children that outlive us must not
# inherit it, so it is only taken by scripts that leave nothing running.
alone() {
    exec 9>"$STATE/$1.lock"
    flock -n 9 && return
    printf 'waiting for another run that holds %s\n' "$STATE/$1.lock" >&2
    flock 9
}
