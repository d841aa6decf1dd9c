#!/bin/sh
# How many patients are there? Each hospital adds a line to counts.csv.
#
# PHT_DATA/<name> (/pht/data/<name> at a station) holds the hospital's files, PHT_STATE (/pht/state) what the hospital
# before left there, and what is in it at the end goes on. Nothing of a single patient may be in it.
set -eu
least=5

patients=0
for file in "$PHT_DATA"/patients/*.csv; do
    rows=$(($(wc -l <"$file") - 1))
    patients=$((patients + rows))
done
if [ "$patients" -lt "$least" ]; then
    echo "fewer than $least patients: the number would say too much about each of them" >&2
    exit 1
fi
[ -e "$PHT_STATE/counts.csv" ] || echo patients >"$PHT_STATE/counts.csv"
echo "$patients" >>"$PHT_STATE/counts.csv"
