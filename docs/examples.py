"""What does each format look like? One small journey, the same each time, and every document that it leaves somewhere.

Keys come from fixed seeds and sign alike each time. Sealed files are never the same twice, so those that travel here are
stand-ins of the same size. Everything else is made, and verified, by the code that does it in earnest.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry.artifact import pack, pack_receipt
from registry.depot import Depot, ReceiptKind, mailbox, train_tag
from registry.memory import MemoryRegistry
from registry.names import Tag
from security.age import X25519Identity, decrypt
from security.archive import Budget, Member, unpack
from security.catalogue import Catalogue, CatalogueEntry, sign_catalogue
from security.digest import Digest, digest_of
from security.directory.card import make_card
from security.directory.documents import base_file, parse_trust, party_file, print_base, print_party, print_policy
from security.directory.trust import Base, DirectoryVersion, KeySetRecord, Party, Policy
from security.encoding import dump_json
from security.ids import PartyId, Role, TrainId
from security.keys.keyset import Secrets, SoftwareSigner
from security.statement.envelope import Envelope, sign
from security.tables.column import Column, ColumnType
from security.train.journey import (
    JourneyEntry,
    Outcome,
    Refusal,
    StateRef,
    StationAnswer,
    TrainParts,
    print_answer,
    print_entry,
    print_refusal,
)
from security.train.letters import Parcel, entry_recipients, manifest_recipients, refusal_recipients, seal_letter
from security.train.manifest import (
    Approval,
    CodeRef,
    DataNeed,
    Limits,
    Output,
    TrainManifest,
    print_manifest,
)
from security.train.recall import Recall, print_recall
from security.train.route import SequenceRoute, Stop
from security.train.route_kinds import KINDS, BoardedRoute, RoundsRoute
from security.train.seal import CodeBinding, StateBinding, seal_code, seal_state
from security.train.verify import verify_home
from station.journal.audit import export, sign_head
from station.journal.chain import START, Head, Record, link
from station.visit.events import ArrivalId, Noticed
from station.visit.station_events import DaemonStarted
from train_builder.proof.proof import proof_document, prove

NOW: Final = datetime(2026, 1, 2, 10, 0, tzinfo=UTC)
ALICE, ULM, KIEL = PartyId("alice"), PartyId("ulm"), PartyId("kiel")
VERSION: Final = DirectoryVersion(root=1, targets=4)
BASE: Final = Base(name="python", digest=digest_of(b"python"), note="Debian, Python 3.11", withdrawn=False)
NONCE: Final = "00112233445566778899aabbccddeeff"
FILES: Final = {"main.py": b"print('hello')\n"}
WIDTH: Final = 118


def _rounds(keys: Mapping[PartyId, Secrets]) -> BoardedRoute:
    ulm, kiel = (Stop(party=party, key_set=keys[party].key_set.fingerprint) for party in (ULM, KIEL))
    return BoardedRoute(then=RoundsRoute(stations=(ulm, kiel), junction=ulm, most=20))


@dataclass(frozen=True)
class Blobs:
    """The sealed files of the journey, by digest."""

    held: dict[Digest, bytes]

    def open(self, digest: Digest) -> BinaryIO:
        """Return a blob."""
        return io.BytesIO(self.held[digest])


def examples() -> dict[str, str]:
    """Return every example by its name, as it stands in the document."""
    keys = {party: _secrets(party) for party in (ALICE, ULM, KIEL)}
    documents = _directory(keys)
    trust = parse_trust(documents, version=VERSION, expires=NOW + timedelta(days=7))
    code, code_meta = _sealed_code(keys)
    manifest = _manifest(keys, code)
    head = sign(print_manifest(manifest), keys[ALICE].signers)
    train, blobs = TrainId(head.digest.hex), {code.digest: bytes(code.size)}
    readers = [keys[party].key_set.sealing for party in (ULM, KIEL, ALICE)]
    letters = [_stand_in(head, manifest_recipients(readers, manifest.mail), b"m")]

    entries: list[Envelope] = []
    parts, state_meta = TrainParts(manifest=head, entries=(), code=code, states=()), b""
    for stop, (station, following) in enumerate(((ULM, KIEL), (KIEL, ALICE))):
        previous = entries[-1].digest if entries else head.digest
        binding = StateBinding(train=train, stop=stop, sender=station, recipients=(following,), previous=(previous,))
        size, state_meta = _sealed_state(keys[following], binding)
        stand_in = bytes([stop]) * size
        state = StateRef(digest=digest_of(stand_in), size=size)
        entry = JourneyEntry(
            train=train,
            stop=stop,
            attempt=1,
            station=station,
            previous=(previous,),
            states_in=tuple(one.digest for one in parts.states),
            state_out=state.digest,
            base=BASE.digest,
            directory=VERSION,
            sandbox="docker-runc-v1",
            time=NOW + timedelta(minutes=7 + 30 * stop),
        )
        entries.append(sign(print_entry(entry), keys[station].signers))
        blobs[state.digest] = stand_in
        letters.append(_stand_in(entries[-1], entry_recipients(manifest, stop, trust, entry.time), b"%d" % stop))
        parts = TrainParts(manifest=head, entries=tuple(entries), code=code, states=(state,))
        if stop == 0:
            on_its_way = Parcel(manifest=letters[0], entries=tuple(letters[1:]), code=code, states=(state,))

    refusal = Refusal(
        train=train, stop=1, station=KIEL, outcome=Outcome.FAILED, directory=VERSION, time=NOW + timedelta(hours=1)
    )
    told = StationAnswer(
        train=train, stop=1, station=KIEL, text="the column 'age' is empty here", time=NOW + timedelta(days=1)
    )
    refused = sign(print_refusal(refusal), keys[KIEL].signers)
    card = make_card(keys[KIEL], party=KIEL, title="University Hospital Kiel", roles=[Role.STATION], now=NOW)
    journal, ended = _journal(on_its_way, train)
    accepted = verify_home(parts, trust, owner=ALICE, now=NOW + timedelta(days=1))
    answer = _stand_in(refused, refusal_recipients(manifest, keys[KIEL].key_set.sealing), b"r")
    receipt = pack_receipt(letters[1], small=0).manifest
    return {
        "train-manifest": _of(head.payload),
        "journey-entry": _of(entries[1].payload),
        "refusal": _of(refused.payload),
        "answer": _of(print_answer(told)),
        "recall": _of(print_recall(Recall(train=train, time=NOW + timedelta(hours=1), reason="wrong base image"))),
        "route": _of(dump_json(KINDS.write(_rounds(keys)))),
        "party-card": _of(card.payload),
        "catalogue": _of(sign_catalogue(_catalogue(), keys[ULM].signers).payload),
        "journal-head": _of(sign_head(ended, station=KIEL, signers=keys[KIEL].signers, now=NOW).payload),
        "envelope": _of(refused.to_bytes()),
        "meta-code": _of(code_meta),
        "meta-state": _of(state_meta),
        "directory-party": _of(documents[party_file(KIEL)]),
        "directory-base": _of(documents[base_file(BASE.name)]),
        "directory-policy": _of(documents["policy.json"]),
        "directory-files": _files(documents),
        "train-artifact": _of(pack(on_its_way, small=0).manifest.raw),
        "receipt-artifact": _of(receipt.raw),
        "tags": _tags(on_its_way, blobs, letters[1], answer, train),
        "proof": laid_out(proof_document(prove(accepted, trust))),
        "audit-export": journal,
    }


def laid_out(value: Any, indent: int = 0, before: int = 0) -> str:  # noqa: ANN401 - JSON
    """Print JSON on as few lines as are not too long."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or indent + before + len(flat) <= WIDTH:
        return flat
    named = value.items() if isinstance(value, dict) else [(None, one) for one in value]
    lines: list[str] = []
    for name, one in named:
        label = "" if name is None else f"{json.dumps(name)}: "
        text = label + laid_out(one, indent + 1, len(label) + 1)
        if lines and "\n" not in lines[-1] + text and indent + len(lines[-1]) + len(text) + 4 <= WIDTH:
            lines[-1] += f", {text}"
        else:
            lines.append(text)
    pad, (opening, closing) = "\n" + " " * (indent + 1), "{}" if isinstance(value, dict) else "[]"
    return opening + pad + f",{pad}".join(lines) + "\n" + " " * indent + closing


def _catalogue() -> Catalogue:
    columns = (
        Column(name="patient", type=ColumnType.IDENTIFIER),
        Column(name="age", type=ColumnType.INTEGER, measure="a", least="0", most="120"),
        Column(
            name="sex", type=ColumnType.CATEGORY, values=("f", "m"), coding="http://hl7.org/fhir/administrative-gender"
        ),
    )
    entry = CatalogueEntry(
        name="heart",
        description="patients with heart failure since 2015",
        columns=columns,
        patient="patient",
        patients="500-999",
        least_patients=10,
    )
    return Catalogue(station=ULM, made_at=NOW, data=(entry,))


def _of(raw: bytes) -> str:
    return laid_out(json.loads(raw))


def _secrets(party: PartyId) -> Secrets:
    signer = SoftwareSigner(Ed25519PrivateKey.from_private_bytes(_seed("signing", party)))
    return Secrets(signers=(signer,), identity=X25519Identity(_seed("sealing", party)))


def _seed(use: str, party: PartyId) -> bytes:
    return hashlib.sha256(f"example, never to be used: {use} of {party}".encode()).digest()


def _stand_in(envelope: Envelope, recipients: Iterable[str], filling: bytes) -> bytes:
    """Return bytes of the size of a letter, the same each time."""
    return filling * len(seal_letter(envelope, recipients))


def _directory(keys: dict[PartyId, Secrets]) -> dict[str, bytes]:
    titles = {ALICE: "Alice Example", ULM: "University Hospital Ulm", KIEL: "University Hospital Kiel"}
    documents = {base_file(BASE.name): print_base(BASE), "policy.json": print_policy(Policy())}
    for party, secrets in keys.items():
        role = Role.OWNER if party == ALICE else Role.STATION
        record = KeySetRecord(key_set=secrets.key_set, since=NOW - timedelta(days=1), until=None, revoked=None)
        known = Party(party=party, title=titles[party], roles=frozenset({role}), key_sets=(record,))
        documents[party_file(party)] = print_party(known)
    return documents


def _sealed_code(keys: dict[PartyId, Secrets]) -> tuple[CodeRef, bytes]:
    sink, readers = io.BytesIO(), [keys[party].key_set.sealing for party in (ULM, KIEL, ALICE)]
    seal_code(sink, _members(FILES), binding=CodeBinding(owner=ALICE, nonce=NONCE), recipients=readers)
    size = len(sink.getvalue())
    return CodeRef(digest=digest_of(bytes(size)), size=size), _meta_in(sink.getvalue(), keys[ALICE])


def _sealed_state(reader: Secrets, binding: StateBinding) -> tuple[int, bytes]:
    sink = io.BytesIO()
    seal_state(sink, _members({"sums.json": b"{}"}), binding=binding, recipients=[reader.key_set.sealing])
    return len(sink.getvalue()), _meta_in(sink.getvalue(), reader)


def _meta_in(sealed: bytes, reader: Secrets) -> bytes:
    found: list[bytes] = []
    budget = Budget(total_bytes=1 << 20, member_bytes=1 << 20, members=9)
    with tempfile.TemporaryDirectory() as into, decrypt(io.BytesIO(sealed), [reader.identity]) as plain:
        unpack(plain, into=Path(into), budget=budget, check_meta=found.append)
    return found[0]


def _members(files: dict[str, bytes]) -> list[Member]:
    def one(path: str, data: bytes) -> Member:
        return Member(path=path, size=len(data), executable=False, open=lambda: io.BytesIO(data))

    return [one(path, data) for path, data in files.items()]


def _manifest(keys: dict[PartyId, Secrets], code: CodeRef) -> TrainManifest:
    return TrainManifest(
        name="breast-cancer",
        purpose="describe tumours",
        approval=Approval(reference="ethics board 1/2026", legal_basis="GDPR Art. 9(2)(j)"),
        owner=Stop(party=ALICE, key_set=keys[ALICE].key_set.fingerprint),
        code=code,
        base=BASE.digest,
        command=("python3", "main.py"),
        environment={"TZ": "UTC"},
        data=(DataNeed(name="patients", description="one row a patient", files=("*.csv",)),),
        outputs=(Output(path="sums.json", media_type="application/json", max_bytes=65536, schema={"type": "object"}),),
        limits=Limits(memory_bytes=256 << 20, cpu_millis=1000, wall_seconds=300, processes=32, output_bytes=1 << 20),
        route=SequenceRoute(stops=tuple(Stop(party=one, key_set=keys[one].key_set.fingerprint) for one in (ULM, KIEL))),
        recipient=keys[ALICE].key_set.sealing,
        mail=str(X25519Identity(_seed("mail", ALICE)).recipient),
        valid_from=NOW,
        valid_until=NOW + timedelta(days=14),
        nonce=NONCE,
        letter_key=hashlib.sha256(b"example, never to be used: letters").hexdigest(),
    )


def _files(documents: dict[str, bytes]) -> str:
    """Return the names of a directory's files, as `security.directory.publish` gives them out."""
    named = [f"{digest_of(raw).hex}.{name}" for name, raw in sorted(documents.items())]
    return "\n".join(["1.root.json", "4.targets.json", "9.snapshot.json", "timestamp.json", *named])


def _tags(parcel: Parcel, blobs: dict[Digest, bytes], entry: bytes, refused: bytes, train: TrainId) -> str:
    depot = Depot(MemoryRegistry())
    depot.send(parcel, Blobs(blobs), to=KIEL, train=train, stop=1)
    depot.send_receipt(entry, owner=ALICE, train=train, stop=0, kind=ReceiptKind.ENTRY)
    depot.send_receipt(refused, owner=ALICE, train=train, stop=1, kind=ReceiptKind.REFUSAL)
    boxes = [mailbox(KIEL), mailbox(ALICE)]
    return "\n".join(f"{box}:{tag}" for box in boxes for tag in sorted(map(Tag, depot.registry.list_tags(box))))


def _journal(parcel: Parcel, train: TrainId) -> tuple[str, Head]:
    """Return the first two records of the journal of the second station, as they are exported, and its head."""
    artifact = pack(parcel, small=0).manifest
    arrival = ArrivalId(str(artifact.digest))
    came = Noticed(at=NOW, arrival=arrival, tag=train_tag(train, KIEL, 1), size=len(artifact.raw))
    begun = Record(sequence=1, visit=None, position=None, event=DaemonStarted(at=NOW, version="0.1.0"))
    noticed = Record(sequence=2, visit=arrival, position=0, event=came)
    head, records = START, []
    for record in (begun, noticed):
        head = link(head, record.to_bytes())
        records.append((record.to_bytes(), head.hash))
    lines = io.BytesIO()
    export(records, lines)
    return lines.getvalue().decode().strip(), head
