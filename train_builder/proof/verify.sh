#!/bin/sh
# Checks an exported journey with sha256sum, base64 and openssl alone; with in-toto as well, if it is installed.
# It shows that the statements hang together and who signed them, by keys that lie beside them. Whose keys these are it cannot
# know: compare the fingerprints at its end, or let `pht verify . --root root.json` judge by the consortium's directory.
# Exit status: 0 everything checked out, 1 something did not, 3 something could not be checked with this openssl.
set -eu
cd "$(dirname "$0")"
skipped=0

fail() { printf 'FAILED  %s\n' "$*"; exit 1; }
good() { printf 'ok      %s\n' "$*"; }
digest() { sha256sum <"$1" | cut -c1-64; }

# What a statement says, one value a line: `predicate.route.stops.0.party hospital-a`; `.#` is the length of a list. A key
# that is not plain becomes `?`, so that no text and no part of another document is taken for what the statement says.
told=$(mktemp -d)
trap 'rm -rf "$told"' EXIT
flatten() { # FOLDER
    LC_ALL=C awk '
    function wrong() { exit 1 }
    function blank() { while (at <= size && index(" \t\r\n", substr(text, at, 1))) at++ }
    function string(  from, c) {
        from = ++at
        while ((c = substr(text, at, 1)) != "\"") { if (c == "") wrong(); at += (c == "\\") ? 2 : 1 }
        at++
        return substr(text, from, at - from - 1)
    }
    function value(path,  c, key, count) {
        if (path in seen && path !~ /[?]/) wrong()
        seen[path]
        blank()
        c = substr(text, at, 1)
        if (c == "{" || c == "[") {
            at++; blank(); count = 0
            if (substr(text, at, 1) != (c == "{" ? "}" : "]")) {
                do {
                    blank(); key = count
                    if (c == "{") {
                        if (substr(text, at, 1) != "\"") wrong()
                        key = string(); if (key !~ /^[A-Za-z_]+[A-Za-z0-9_]*$/) key = "?"
                        blank(); if (substr(text, at++, 1) != ":") wrong()
                    }
                    value(path (path == "" ? "" : ".") key); count++
                    blank()
                } while (substr(text, at++, 1) == ",")
                at--
            }
            if (substr(text, at++, 1) != (c == "{" ? "}" : "]")) wrong()
            if (c == "[") print path ".# " count
        } else if (c == "\"") print path " " string()
        else {
            if (!match(substr(text, at, 40), /^[-+.0-9A-Za-z]+/)) wrong()
            print path " " substr(text, at, RLENGTH); at += RLENGTH
        }
    }
    BEGIN {
        while ((getline line < ARGV[1]) > 0) text = text line "\n"
        size = length(text); at = 1
        value(""); blank()
        if (at <= size) wrong()
    }' "$1/payload.json" >"$told/$1" || fail "$1: is not a statement"
}
value() { awk -v path="$2" '$1 == path { sub(/^[^ ]* /, ""); print }' "$told/$1"; }
says() { [ "$(value "$1" "$2")" = "$3" ] || fail "$1: does not say $2 $3"; }

# The files are those that were exported. (This guards against damage; what follows guards against lies.)
sha256sum --check --quiet --strict SHA256SUMS || fail 'SHA256SUMS'
good 'the files are whole'

# ML-DSA (FIPS 204) came to openssl with version 3.5.
mldsa=no
if openssl list -signature-algorithms 2>/dev/null | grep -qi 'ML-DSA-65'; then mldsa=yes; fi

signature() { # FOLDER SCHEME KEYID PARTY
    key=keys/$4/$3.pem
    [ "$(grep -v -e '-----' "$key" | base64 -d | sha256sum | cut -c1-64)" = "$3" ] || fail "$key: is not the key of that id"
    case $2 in
    ed25519)
        openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in "$1/pae.bin" -sigfile "$1/$3.sig" >/dev/null ||
            fail "$1: signature of $4 under $3" ;;
    ecdsa-sha2-nistp256)
        openssl dgst -sha256 -verify "$key" -signature "$1/$3.sig" "$1/pae.bin" >/dev/null ||
            fail "$1: signature of $4 under $3" ;;
    ml-dsa-65)
        if [ $mldsa = no ]; then
            printf 'SKIPPED %s: %s signature of %s needs openssl 3.5\n' "$1" "$2" "$4"
            skipped=1
            return 0
        fi
        openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in "$1/pae.bin" -sigfile "$1/$3.sig" >/dev/null ||
            fail "$1: signature of $4 under $3" ;;
    *) fail "$1: unknown scheme $2" ;;
    esac
    good "$1: signed by $4 ($2)"
}

statement() { # FOLDER PARTY PLACE: every key of the party's set, which the manifest names there, signed exactly these bytes
    tr -d ' \n' <"$1/envelope.json" | sed 's/.*"payload":"\([^"]*\)".*/\1/' | base64 -d | cmp -s - "$1/payload.json" ||
        fail "$1: payload is not the envelope's"
    { printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(wc -c <"$1/payload.json")"; cat "$1/payload.json"; } |
        cmp -s - "$1/pae.bin" || fail "$1: what was signed is not the payload (DSSE v1, PAE)"
    flatten "$1"
    says manifest "$3.party" "$2"
    says manifest "$3.keySet" "sha256:$(digest "keys/$2/key-set.txt")"
    signed=no
    while read -r word scheme key; do
        [ "$word" != sign ] || { signature "$1" "$scheme" "$key" "$2" && signed=yes; }
    done <"keys/$2/key-set.txt"
    [ $signed = yes ] || fail "$1: nobody signed"
}

# --- The route, out of the signed manifest: who is expected at a stop, and which stops come before it -----------------------

same() { # PLACE PLACE: whether the manifest expects the same party with the same keys at both
    [ "$(value manifest "$1.party") $(value manifest "$1.keySet")" = "$(value manifest "$2.party") $(value manifest "$2.keySet")" ]
}

route() { # reads the route of the manifest into variables, and the places of boarding into a file
    legs=predicate.route first=0 boarded=no
    : >"$told/boarding"
    if [ "$(value manifest predicate.route.kind)" = boarded ]; then legs=predicate.route.then boarded=yes; fi
    kind=$(value manifest "$legs.kind")
    case $kind in
    sequence) stations=$(value manifest "$legs.stops.#") most=1 list=stops ;;
    rounds) stations=$(value manifest "$legs.stations.#") most=$(value manifest "$legs.most") list=stations ;;
    *) fail "manifest: a route of an unknown kind: $kind" ;;
    esac
    for number in "$stations" "$most"; do
        case $number in *[!0-9]* | '') fail 'manifest: its route has no stops' ;; esac
    done
    places=0
    while [ $places -lt "$stations" ]; do board "$legs.$list.$places"; places=$((places + 1)); done
    [ "$kind" = sequence ] || board "$legs.junction"
    [ $boarded = no ] || first=$(($(wc -l <"$told/boarding") + 1))
}

board() { # PLACE: everybody boards once
    while read -r earlier; do ! same "$1" "$earlier" || return 0; done <"$told/boarding"
    echo "$1" >>"$told/boarding"
}

place() { # STOP: where the manifest says who is expected there
    leg=$(($1 - first))
    if [ $leg -lt -1 ]; then sed -n "$(($1 + 1))p" "$told/boarding"
    elif [ $leg -eq -1 ]; then [ "$kind" = sequence ] && echo "$legs.stops.0" || echo "$legs.junction"
    elif [ "$kind" = sequence ]; then echo "$legs.stops.$leg"
    elif combines $1; then echo "$legs.junction"
    else echo "$legs.stations.$((leg % (stations + 1)))"
    fi
}

tell() { # STOP: where that is, as people count
    leg=$(($1 - first)) does=contribute
    ! combines $1 || does=combine
    if [ $leg -lt -1 ]; then echo boarding
    elif [ $leg -eq -1 ]; then echo departure
    elif [ "$kind" = sequence ]; then echo "stop $((leg + 1)) of $stations"
    else echo "round $((leg / (stations + 1) + 1)) of at most $most ($does)"
    fi
}

combines() { # STOP: whether it is the combination of a round
    [ "$kind" = rounds ] && [ $1 -ge $first ] && [ $((($1 - first) % (stations + 1))) -eq "$stations" ]
}

before() { # STOP: the stops before it, in order; none where a train begins
    leg=$(($1 - first))
    if [ $leg -lt -1 ]; then return 0; fi
    if [ $leg -eq -1 ]; then from=0 to=$(($1 - 1))
    elif [ "$kind" = sequence ]; then from=$(($1 - 1)) to=$(($1 - 1))
    elif combines $1; then from=$(($1 - stations)) to=$(($1 - 1))
    else
        from=$(($1 - leg % (stations + 1) - 1))
        to=$from
    fi
    while [ $from -le $to ] && [ $to -ge 0 ]; do echo $from; from=$((from + 1)); done
}

links() { # FOLDER STOP: it names the entries of the stops before it, and the states they sent, and no others
    count=0
    for earlier in $(before "$2"); do
        says "$1" "predicate.previous.$count" "sha256:$(cat "$told/digest.$earlier")"
        says "$1" "predicate.statesIn.$count" "$(cat "$told/state.$earlier")"
        count=$((count + 1))
    done
    says "$1" predicate.statesIn.# $count
    [ $count != 0 ] || { count=1; says "$1" predicate.previous.0 "sha256:$train"; }
    says "$1" predicate.previous.# $count
}

stop=0 state= finished=
while read -r folder party; do
    case $party in *[!a-z0-9-]* | '') fail "witnesses.txt: not a party: $party" ;; esac
    if [ "$folder" = manifest ] && [ $stop = 0 ] && [ ! -f "$told/manifest" ]; then
        statement manifest "$party" predicate.owner
        says manifest predicateType urn:pht:statement:train-manifest:v1
        route
        train=$(digest manifest/pae.bin)
        continue
    fi
    [ "$folder" = "entry-$((stop + 1))" ] && [ -f "$told/manifest" ] || fail "witnesses.txt: $folder is out of order"
    [ -z "$finished" ] || fail "$folder: follows one that says that the train has finished"
    statement "$folder" "$party" "$(place $stop)"
    says "$folder" predicateType urn:pht:statement:journey-entry:v1
    says "$folder" predicate.train "$train"
    says "$folder" predicate.stop "$stop"
    says "$folder" predicate.station "$party"
    says "$folder" predicate.base "$(value manifest predicate.base)"
    says "$folder" predicate.outcome passed
    links "$folder" $stop
    finished=$(value "$folder" predicate.finished)
    [ -z "$finished" ] || { [ "$finished" = true ] && combines $stop; } || fail "$folder: cannot say that the train has finished"
    boards=no
    [ -z "$(value "$folder" predicate.boarding.recipient)" ] || boards=yes
    [ $boards = "$([ $stop -lt $((first - 1)) ] && echo yes || echo no)" ] || fail "$folder: a boarding pass is there or missing"
    says "$folder" subject.# 1
    says "$folder" subject.0.name state
    state=sha256:$(value "$folder" subject.0.digest.sha256)
    digest "$folder/pae.bin" >"$told/digest.$stop"
    echo "$state" >"$told/state.$stop"
    good "$folder: $(tell $stop), at $party"
    stop=$((stop + 1))
done <witnesses.txt

# The entries are those of all stops of the signed route, or of all up to a combination that says the train has finished.
[ -f "$told/manifest" ] || fail 'witnesses.txt: there is no manifest'
whole=$((first + stations))
[ "$kind" = sequence ] || whole=$((first + most * (stations + 1)))
[ -n "$finished" ] || [ $stop = $whole ] || fail "the journey has $stop entries of $whole, and none that says the train has finished"
for folder in entry-*; do [ -f "$told/$folder" ] || fail "$folder: is about no stop of the route"; done
good "the journey is the whole route: $stop entries"

says manifest subject.0.name code
[ ! -f blobs/code.age ] || says manifest subject.0.digest.sha256 "$(digest blobs/code.age)"
[ ! -f blobs/state.age ] || [ "$state" = "sha256:$(digest blobs/state.age)" ] || fail 'blobs/state.age is not what the last stop sent'
good 'the sealed files are the ones the statements name'

# The same once more with in-toto's own reader of DSSE envelopes (pip install in-toto; 2.0 or later knows them).
if python3 -c 'from in_toto.models.metadata import Metadata; from securesystemslib.signer import SSlibKey' 2>/dev/null; then
    python3 - <<'END' || fail 'in-toto does not agree'
import pathlib
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from in_toto.models.metadata import Metadata
from securesystemslib.signer import SSlibKey

for line in pathlib.Path("witnesses.txt").read_text().splitlines():
    folder, party = line.split()
    keys = []
    for word in pathlib.Path("keys", party, "key-set.txt").read_text().splitlines():
        kind, *rest = word.split()
        if kind == "sign" and rest[0] != "ml-dsa-65":  # in-toto knows only ML-DSA over a prefixed hash
            pem = pathlib.Path("keys", party, f"{rest[1]}.pem").read_bytes()
            keys.append(SSlibKey.from_crypto(load_pem_public_key(pem), keyid=rest[1]))
    if keys:
        Metadata.load(str(pathlib.Path(folder, "envelope.json"))).verify(keys, len(keys))
        print(f"ok      {folder}: in-toto finds {len(keys)} good signature(s) of {party}")
END
else
    printf 'SKIPPED in-toto 2.0 or later is not installed (pip install in-toto)\n'
fi

printf 'key sets, to be compared with those the consortium reads out:\n'
cut -d' ' -f2 witnesses.txt | sort -u | while read -r party; do
    printf '  %-40s %s\n' "$party" "$(digest "keys/$party/key-set.txt" | cut -c1-32 | sed 's/..../& /g')"
done
[ $skipped = 0 ] || exit 3
