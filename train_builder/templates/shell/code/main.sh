#!/bin/sh
# How many patients are there? Each hospital adds a line to counts.csv.
#
# /pht/data/<name> holds the hospital's files, /pht/state what the hospital before left there, and what is in it at the
# end goes on. Nothing of a single patient may be in it.
set -eu
pht=${1:-/pht}
least=5

patients=0
for file in "$pht"/data/patients/*.csv; do
    rows=$(($(wc -l <"$file") - 1))
    patients=$((patients + rows))
done
if [ "$patients" -lt "$least" ]; then
    echo "fewer than $least patients: the number would say too much about each of them" >&2
    exit 1
fi
[ -e "$pht/state/counts.csv" ] || echo patients >"$pht/state/counts.csv"
echo "$patients" >>"$pht/state/counts.csv"
