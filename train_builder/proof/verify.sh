#!/bin/sh
# Checks an exported journey with sha256sum, base64 and openssl alone; with in-toto as well, if it is installed.
# Exit status: 0 everything checked out, 1 something did not, 3 something could not be checked with this openssl.
set -eu
cd "$(dirname "$0")"
skipped=0

fail() { printf 'FAILED  %s\n' "$*"; exit 1; }
good() { printf 'ok      %s\n' "$*"; }
digest() { sha256sum <"$1" | cut -c1-64; }
says() { grep -qF -- "$2" "$1/payload.json" || fail "$1: does not say $2"; }

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
            return
        fi
        openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in "$1/pae.bin" -sigfile "$1/$3.sig" >/dev/null ||
            fail "$1: signature of $4 under $3" ;;
    *) fail "$1: unknown scheme $2" ;;
    esac
    good "$1: signed by $4 ($2)"
}

statement() { # FOLDER PARTY: every key of the party's set signed exactly these bytes
    tr -d ' \n' <"$1/envelope.json" | sed 's/.*"payload":"\([^"]*\)".*/\1/' | base64 -d | cmp -s - "$1/payload.json" ||
        fail "$1: payload is not the envelope's"
    { printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(wc -c <"$1/payload.json")"; cat "$1/payload.json"; } |
        cmp -s - "$1/pae.bin" || fail "$1: what was signed is not the payload (DSSE v1, PAE)"
    says manifest "{\"keySet\":\"sha256:$(digest "keys/$2/key-set.txt")\",\"party\":\"$2\"}"
    while read -r word scheme key; do
        [ "$word" != sign ] || signature "$1" "$scheme" "$key" "$2"
    done <"keys/$2/key-set.txt"
}

train=$(digest manifest/pae.bin)
stop=0 before=manifest state=
while read -r folder party; do
    statement "$folder" "$party"
    [ "$folder" != manifest ] || continue
    says "$folder" "\"train\":\"$train\""
    says "$folder" "\"stop\":$stop,"
    says "$folder" "\"station\":\"$party\""
    says "$folder" "\"previous\":[\"sha256:$(digest "$before/pae.bin")\"]"
    says "$folder" "\"statesIn\":[$state],"
    state=$(sed 's/.*"subject":\[{"digest":{"sha256":"\([0-9a-f]\{64\}\)"},"name":"state"}\].*/"sha256:\1"/' "$folder/payload.json")
    good "$folder: stop $((stop + 1)), at $party, follows $before"
    before=$folder stop=$((stop + 1))
done <witnesses.txt

# The route in the manifest is the order of the witnesses, each with its key set, and no one else.
route=$(sed 's/.*"stops":\[\([^]]*\)\].*/\1/' manifest/payload.json | grep -o '"party":"[^"]*"' | cut -d'"' -f4)
[ "$route" = "$(tail -n +2 witnesses.txt | cut -d' ' -f2)" ] || fail 'the journey is not the route of the manifest'
good "the journey is the whole route: $stop stops"

[ ! -f blobs/code.age ] || says manifest "{\"digest\":{\"sha256\":\"$(digest blobs/code.age)\"},\"name\":\"code\"}"
[ ! -f blobs/state.age ] || [ "$state" = "\"sha256:$(digest blobs/state.age)\"" ] || fail 'blobs/state.age is not what the last stop sent'
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
