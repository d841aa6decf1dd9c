#!/usr/bin/env bash
# Writes requirements.lock (to run) and requirements-dev.lock (to develop) from pyproject.toml, with every version and hash, and
# without this machine's package sources.
set -euo pipefail
cd "$(dirname "$0")/.."

for lock in requirements requirements-dev; do
    extras=()
    [ $lock = requirements ] || extras=(--extra dev)
    CUSTOM_COMPILE_COMMAND='make lock' .venv/bin/pip-compile --quiet --no-config --upgrade --generate-hashes --allow-unsafe \
        --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
        "${extras[@]}" --output-file "$lock.lock" pyproject.toml
done
if grep -nE '^ *--(index|extra|find|trusted)|://' requirements.lock requirements-dev.lock; then
    printf 'a lock must not name a package source\n' >&2
    exit 1
fi
