"""How can a journey be checked without our software?

`export_journey` writes every signed statement taken apart (envelope, payload, the bytes that were signed, raw
signatures), the public keys, the sealed files, the exact commands in a README, and ``verify.sh``, which runs them with
``sha256sum``, ``base64`` and ``openssl`` and, if it is there, ``in-toto``. The directory that the journey was verified
against goes along, so that `train_builder.proof.check` can judge all of it by a pinned root.
"""

from __future__ import annotations

import importlib.resources
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from registry.blobs import BlobFolder
from security.digest import digest_stream
from security.encoding import dump_pretty
from security.files import make_folder, making_folder, write_file
from security.keys.keyset import KeySet, Scheme, spell
from security.statement.envelope import Envelope
from security.train.journey import TrainParts
from security.train.route import counted
from train_builder.errors import FolderNotEmpty
from train_builder.proof.proof import Proof, Witness, describe_proof, proof_document

_OPENSSL = {
    Scheme.ED25519: "openssl pkeyutl -verify -pubin -inkey {key} -rawin -in {folder}/pae.bin -sigfile {folder}/{id}.sig",
    Scheme.P256: "openssl dgst -sha256 -verify {key} -signature {folder}/{id}.sig {folder}/pae.bin",
    Scheme.ML_DSA_65: "openssl pkeyutl -verify -pubin -inkey {key} -rawin -in {folder}/pae.bin -sigfile {folder}/{id}.sig",
}
_MODE = 0o644
MANIFEST: Final = "manifest"
ENTRY: Final = "entry-"
ENVELOPE: Final = "envelope.json"
DIRECTORY: Final = "directory"
CODE: Final = "blobs/code.age"
STATE: Final = "blobs/state.age"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedStatement:
    """A signed statement of the journey, the folder it is written to, and who must have signed it."""

    folder: str
    envelope: Envelope
    witness: Witness


def export_journey(
    proof: Proof, parts: TrainParts, blobs: BlobFolder, directory: Mapping[str, bytes], into: Path
) -> tuple[str, ...]:
    """Write a verified journey to a folder that does not exist yet or is empty; return the files.

    `directory` are the files of the directory, under the names they are published by.

    Raises:
        FolderNotEmpty: there is something in the folder already.
    """
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        msg = "the folder for the export is not empty"
        raise FolderNotEmpty(msg, path=into)
    statements = tuple(_statements(proof, parts))
    with making_folder(into) as new:
        for one in statements:
            _write_statement(one, new)
        for party, key_set in {one.witness.party: one.witness.key_set for one in statements}.items():
            _write_keys(key_set, make_folder(new / "keys" / party))
        held = {CODE: parts.code.digest}
        for state in parts.states:
            held[STATE] = state.digest
        for name, digest in held.items():
            make_folder(new / "blobs")
            with blobs.open(digest) as source, (new / name).open("xb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
        for name, raw in directory.items():
            write_file(make_folder(new / DIRECTORY) / name, raw, mode=_MODE)
        witnesses = "".join(f"{one.folder} {one.witness.party}\n" for one in statements)
        write_file(new / "witnesses.txt", witnesses.encode(), mode=_MODE)
        write_file(new / "proof.json", dump_pretty(proof_document(proof)), mode=_MODE)
        write_file(new / "README.txt", _readme(proof, statements).encode(), mode=_MODE)
        script = importlib.resources.files("train_builder.proof").joinpath("verify.sh").read_bytes()
        write_file(new / "verify.sh", script, mode=0o755)
        names = sorted(str(path.relative_to(new)) for path in new.rglob("*") if path.is_file())
        write_file(new / "SHA256SUMS", _sums(new, names).encode(), mode=_MODE)
    return (*names, "SHA256SUMS")


def _statements(proof: Proof, parts: TrainParts) -> Iterator[ExportedStatement]:
    yield ExportedStatement(folder=MANIFEST, envelope=parts.manifest, witness=proof.owner)
    for step, envelope in zip(proof.steps, parts.entries, strict=True):
        yield ExportedStatement(folder=f"{ENTRY}{counted(step.stop)}", envelope=envelope, witness=step.witness)


def _write_statement(statement: ExportedStatement, new: Path) -> None:
    folder, envelope = make_folder(new / statement.folder), statement.envelope
    write_file(folder / ENVELOPE, envelope.to_bytes(), mode=_MODE)
    write_file(folder / "payload.json", envelope.payload, mode=_MODE)
    write_file(folder / "pae.bin", envelope.pae(), mode=_MODE)
    for signature in envelope.signatures:
        write_file(folder / f"{signature.key_id}.sig", signature.sig, mode=_MODE)


def _write_keys(key_set: KeySet, folder: Path) -> None:
    write_file(folder / "key-set.txt", key_set.text.encode(), mode=_MODE)
    for key in key_set.signing:
        write_file(folder / f"{key.key_id}.pem", key.pem.encode(), mode=_MODE)


def _sums(new: Path, names: list[str]) -> str:
    lines = []
    for name in names:
        with (new / name).open("rb") as source:
            lines.append(f"{digest_stream(source)[0].hex}  {name}\n")
    return "".join(lines)


def _readme(proof: Proof, statements: tuple[ExportedStatement, ...]) -> str:
    lines = [
        describe_proof(proof),
        "",
        "Everything below is checked by ./verify.sh; these are its commands, to be run in this folder.",
        "",
        "1. What each party signed are the bytes in pae.bin: DSSE's pre-authentication encoding of payload.json, which",
        "   is the payload of envelope.json. Every key of a party's set must have signed (ML-DSA needs openssl 3.5):",
        "",
    ]
    for one in statements:
        for key in one.witness.key_set.signing:
            path = f"keys/{one.witness.party}/{key.key_id}.pem"
            lines.append("   " + _OPENSSL[key.scheme].format(key=path, folder=one.folder, id=key.key_id))
    lines += [
        "",
        "2. A key set has the SHA-256 of its key-set.txt as its fingerprint; the manifest pins one for every stop.",
        "   Compare these with what the consortium reads out:",
        "",
    ]
    for party, key_set in {one.witness.party: one.witness.key_set for one in statements}.items():
        lines += [f"   sha256sum keys/{party}/key-set.txt    # {spell(key_set.fingerprint)}"]
    lines += [
        "",
        "3. The train's id is the SHA-256 of manifest/pae.bin; each entry names it, and as 'previous' the SHA-256 of",
        "   the pae.bin of each entry before it on the route; as 'statesIn' the states they sent, which are their subjects:",
        "",
        *(f"   sha256sum {one.folder}/pae.bin" for one in statements),
        "   sha256sum blobs/code.age blobs/state.age",
        "",
        "4. The owner opens the results with age (https://age-encryption.org, 1.3 or later for age1pq keys) and tar.",
        "   META.json comes first and repeats train, stop, sender, recipient and the entry before the last one:",
        "",
        "   age -d -i identity.txt blobs/state.age | tar -tv",
        "",
        "5. Whose keys these are says the consortium's directory, whose files are in directory/ (TUF). This software checks",
        "   everything above, and that, from a root.json that you have pinned yourself (pht directory pin):",
        "",
        "   pht verify . --root root.json",
        "",
        "6. in-toto (pip install in-toto) reads the envelopes as well: see the end of verify.sh.",
        "",
    ]
    return "\n".join(lines)
