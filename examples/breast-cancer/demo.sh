#!/usr/bin/env bash
# One train through three hospitals, and one in rounds, from nothing to opened results, with the public commands only: read it as a tutorial.
#
#   make demo               against a registry process
#   make demo EMBEDDED=1    with a folder (OCI image layouts) as the registry
#   make down               stops what a demo that was killed left running
#
# Everything it makes lies in .state/demo, which each run makes again.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
CHECKOUT=$(cd "$HERE/../.." && pwd)
DEMO=$CHECKOUT/.state/demo
HOSPITALS=(hospital-a hospital-b hospital-c)
declare -A KEYS=(  # three kinds: a software key, one as on smart cards, and a pair that outlasts quantum computers
    [hospital-a]='--scheme ed25519'
    [hospital-b]='--scheme ecdsa-sha2-nistp256'
    [hospital-c]='--scheme ed25519 --scheme ml-dsa-65'
)
export PATH=$CHECKOUT/.venv/bin:$PATH

# --- output ----------------------------------------------------------------------------------------------------------

say() { printf '\n%s\n' "$*"; }

# show COMMAND... : print a command as a person would type it.
show() {
    local word
    printf '\n$'
    for word in "$@"; do
        case $word in
            *[!A-Za-z0-9_./:=@%+-]*) printf " '%s'" "$word" ;;
            *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
}

# run COMMAND... : show a command and run it.
run() {
    show "$@"
    "$@" 9>&-
}

# answer NAME COMMAND... : show a `pht` command, run it, and keep one field of its answer in ANSWER.
answer() {
    local name=$1 said
    shift
    show "$@"
    said=$("$1" --json "${@:2}" 9>&-)
    ANSWER=$(python -c 'import json, sys; print(json.loads(sys.argv[1])[sys.argv[2]])' "$said" "$name")
    printf '%s: %s\n' "$name" "$ANSWER"
}

# refused COMMAND... : run a command that must be refused.
refused() {
    local code=0
    run "$@" || code=$?
    if [ $code != 10 ]; then
        say "it should have been refused (exit status 10), but ended with $code"
        exit 1
    fi
    say "refused, as it must be (exit status 10)"
}

# --- stopping what was started -----------------------------------------------------------------------------------------

# stop FILE... : end the processes whose ids lie in these files, if they are still ours.
stop() {
    local file pid
    for file in "$@"; do
        [ -e "$file" ] || continue
        pid=$(cat "$file")
        if grep -qsF "$DEMO" <(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null); then
            kill "$pid" 2>/dev/null || true
            for _ in {1..100}; do
                kill -0 "$pid" 2>/dev/null || break
                sleep 0.1
            done
        fi
        rm -f "$file"
    done
}

stop_all() {
    stop "$DEMO"/*/daemon.pid
    if [ -d "$DEMO/registry" ]; then pht registry down "$DEMO/registry" >/dev/null 2>&1 || true; fi
}

if [ "${1-}" = down ]; then
    [ ! -d "$DEMO" ] || stop_all
    exit 0
fi

mkdir -p "$DEMO"
exec 9>"$DEMO.lock"
flock -n 9 || { say 'another demo is running here; waiting for it to end' && flock 9; }
stop_all
rm -rf "$DEMO"
mkdir -p "$DEMO"
cd "$DEMO"
trap stop_all EXIT

# --- the parties' secrets and data, which in reality each keeps at home -----------------------------------------------------

mkdir -m 700 secrets
for party in consortium consortium-online alice "${HOSPITALS[@]}"; do
    (umask 077 && head -c 24 /dev/urandom | base64 >"secrets/$party")
done
(umask 022 && python "$HERE/split.py" "$DEMO/data")  # the sandbox runs as another user, who must be able to read them
say "Three hospitals with 310, 171 and 88 patients; a scientist, alice; a consortium that knows them all. No patient leaves a hospital."

# --- the registry ------------------------------------------------------------------------------------------------------

say '== The registry operator starts a registry, and publishes a base image for analyses in Python'
place=registry
[ -z "${EMBEDDED-}" ] || place=layout:$DEMO/registry
answer url pht registry up "$place"
REGISTRY=$ANSWER
answer digest pht registry base push "$REGISTRY" python "$CHECKOUT/.state/base/python.tar"
BASE=$ANSWER

# --- the parties -------------------------------------------------------------------------------------------------------

say '== The consortium makes its directory, with three root keys of which two must sign, and publishes it in the registry'
answer spelled pht directory init consortium --root-keys 3 --threshold 2 --passphrase-file secrets/consortium \
    --online-passphrase-file secrets/consortium-online
ROOT=$ANSWER
run pht directory approve-base consortium python "$BASE"
run pht directory publish consortium --to "$REGISTRY" --passphrase-file secrets/consortium \
    --online-passphrase-file secrets/consortium-online

say '== Every party pins the directory by the fingerprint it was told, and makes its own keys'
run pht train setup alice --party alice --registry "$REGISTRY" --root-fingerprint "$ROOT"
run pht keys new alice/keys --party alice --role owner --passphrase-file secrets/alice
run pht keys card alice/keys -o alice/alice.card.json --passphrase-file secrets/alice
for hospital in "${HOSPITALS[@]}"; do
    read -ra schemes <<<"${KEYS[$hospital]}"
    run pht station init "$hospital" --party "$hospital" --registry "$REGISTRY" --root-fingerprint "$ROOT" \
        --data "patients=data/$hospital" --admit-owner alice --release application/json "${schemes[@]}" \
        --passphrase-file "secrets/$hospital"
    run sed -i 's/poll_seconds: 2/poll_seconds: 1/' "$hospital/station.yaml"
done

say '== The consortium adds each card after its fingerprint was read out over the phone, and publishes the directory again'
for party in alice "${HOSPITALS[@]}"; do
    answer spelled pht keys show "$party/keys"
    run pht directory add consortium "$party/$party.card.json" --fingerprint "$ANSWER"
done
run pht directory publish consortium --to "$REGISTRY" --passphrase-file secrets/consortium \
    --online-passphrase-file secrets/consortium-online

# --- the stations ------------------------------------------------------------------------------------------------------

say '== Three stations start: separate processes with separate keys, state and data'
run pht station check hospital-a
for hospital in "${HOSPITALS[@]}"; do
    show pht station run "$hospital"
    env -i PATH="$PATH" HOME="$DEMO/$hospital" \
        pht station run "$DEMO/$hospital" >"$hospital/daemon.log" 2>&1 </dev/null 9>&- &
    echo $! >"$hospital/daemon.pid"
done

# --- the train ---------------------------------------------------------------------------------------------------------

say '== The scientist checks the train, submits it, and follows it: every hospital says first whether it takes part'
run pht train check "$HERE" --home alice
answer train pht train submit "$HERE" --home alice --passphrase-file secrets/alice
WHOLE=$ANSWER
TRAIN=${WHOLE:0:12}
show pht train follow "$TRAIN" --home alice --watch --every 1
timeout 180 pht train follow "$TRAIN" --home alice --watch --every 1 9>&- || {
    say 'the train did not come home; what the stations say:'
    tail -n 3 hospital-?/daemon.log
    exit 1
}
# Alice's other computer has not fetched the train; below, an attacker gets there first. (What is at home already, whoever
# owns the registry can neither take away nor change.)
cp -a alice alice-elsewhere
run pht train open "$TRAIN" results --home alice --passphrase-file secrets/alice

say '== What came home, compared with what pooling all patients would have given'
run python "$HERE/evaluate.py" results

say '== The proof of the journey: who, in which order, which code and base, against which directory'
run pht train verify "$TRAIN" --home alice --export proof

# --- the attack --------------------------------------------------------------------------------------------------------

say "== An attacker who owns the registry takes hospital-b's entry out of the journey, before Alice's other computer fetches it"
run python "$HERE/tamper.py" "$REGISTRY" "$WHOLE" drop
refused pht train open "$TRAIN" results-dropped --home alice-elsewhere --passphrase-file secrets/alice

say "== Then the attacker puts it back, with one bit changed in what hospital-b sealed"
run python "$HERE/tamper.py" "$REGISTRY" "$WHOLE" alter
refused pht train open "$TRAIN" results-altered --home alice-elsewhere --passphrase-file secrets/alice

# --- the second part: rounds --------------------------------------------------------------------------------------------

ROUNDS=$CHECKOUT/examples/tumour-risk
say '== The second part: a logistic regression in rounds. All hospitals work at once, and nobody sees the sums of any of them'
run pht train check "$ROUNDS" --home alice
say "hospital-a is the junction, where the parts are added up. Its operator is curious, and keeps whatever comes, before the daemon wipes it"
show python "$ROUNDS/curious.py" keep hospital-a curious
mkdir -p curious
python "$ROUNDS/curious.py" keep "$DEMO/hospital-a" "$DEMO/curious" 9>&- &
echo $! >curious/daemon.pid
answer train pht train submit "$ROUNDS" --home alice --passphrase-file secrets/alice
WHOLE=$ANSWER
TRAIN=${WHOLE:0:12}
say 'When every hospital has said that it takes part, the train departs by itself. The pace is as alice hears of it.'
show pht train follow "$TRAIN" --home alice --watch --every 0.2
timeout 180 pht train follow "$TRAIN" --home alice --watch --every 0.2 2>&1 9>&- | python "$ROUNDS/pace.py" 9>&- || {
    say 'the train did not come home; what the stations say:'
    tail -n 3 hospital-?/daemon.log
    exit 1
}
run pht train open "$TRAIN" results-rounds --home alice --passphrase-file secrets/alice

say '== What came home, compared with the fit to all patients together'
run python "$ROUNDS/evaluate.py" results-rounds

say '== What the junction and the registry saw of it'
stop curious/daemon.pid
run python "$ROUNDS/curious.py" look curious hospital-a secrets/hospital-a "$WHOLE"

say '== Where everything lies'
cat <<WHERE
$DEMO/
  consortium/            the directory's keys and what it published
  alice/                 the scientist's keys and trains (alice-elsewhere/: her other computer)
  hospital-a/ (b, c)     a station each: keys, settings, journal, spool, daemon.log
  data/                  what the hospitals hold, and no one else sees
  secrets/               the passphrases, which in reality each party keeps to itself
  results/sums.json      all that left the hospitals
  results.journey.json   the proof beside the results: who signed which stop
  results-rounds/        what came home from the rounds, and results-rounds.journey.json: their proof
  curious/               what the operator of the junction kept of the rounds
  proof/                 the journey, and how to check it without pht (see its README.txt)
  registry/              what its operator sees: sealed, signed, padded
WHERE
