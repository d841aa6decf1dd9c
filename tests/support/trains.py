"""A consortium and its trains, in memory, valid in every respect: made to be spoiled one thing at a time."""

from __future__ import annotations

import contextlib
import io
import secrets as random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from registry.artifact import SMALL
from security.age import HybridIdentity, Recipient
from security.archive import Member
from security.digest import Digest, digest_of
from security.directory.trust import Base, DirectoryVersion, KeySetRecord, Party, Policy, TrustStore
from security.errors import Refused
from security.ids import PartyId, Role, TrainId
from security.keys.keyset import Scheme, Secrets, generate
from security.statement.envelope import Envelope, Verified, sign
from security.train.journey import JourneyEntry, StateRef, TrainParts, print_entry
from security.train.letters import Parcel, common_recipient, is_common, seal_letter
from security.train.manifest import (
    Approval,
    DataNeed,
    Limits,
    Output,
    TrainManifest,
    parse_manifest,
    print_manifest,
    read_manifest,
)
from security.train.route import Route, SequenceRoute, Stop, counted
from security.train.seal import CodeBinding, StateBinding, code_recipients, seal_code, seal_state

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MAIL = HybridIdentity.generate()
"""The owner's key for the mail of every train made here."""
LONG_AGO = NOW - timedelta(days=30)
BASE = digest_of(b"an approved base")
CODE = {"main.py": b"print('hello')\n", "lib/sums.py": b"TOTAL = 0\n"}
LARGE = {**CODE, "weights.bin": b"\1" * SMALL}
"""Code that does not fit into an OCI manifest: it travels as a blob of its own."""


@dataclass
class Consortium:
    """Who is who; ``trust`` is computed from the rest, so that a test changes a fact and asks again."""

    secrets: dict[PartyId, Secrets]
    roles: dict[PartyId, Role]
    bases: dict[Digest, Base]
    revoked: set[Digest] = field(default_factory=set)
    """As of the beginning: nothing these key sets ever signed counts."""
    compromised: dict[Digest, datetime] = field(default_factory=dict)
    """Revoked as of a time."""
    until: dict[Digest, datetime] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    expires: datetime = NOW + timedelta(days=7)
    earlier: dict[PartyId, Secrets] = field(default_factory=dict)

    def rotate(self, party: str) -> tuple[Secrets, Secrets]:
        """Give a party new keys; the old ones stay in force. Returns both, the old first."""
        old, new = self.secrets[PartyId(party)], generate([Scheme.ED25519])
        self.earlier[PartyId(party)], self.secrets[PartyId(party)] = old, new
        return old, new

    @property
    def trust(self) -> TrustStore:
        parties = {}
        for party, keys in self.secrets.items():
            known = ([self.earlier[party]] if party in self.earlier else []) + [keys]
            parties[party] = Party(
                party=party,
                title=str(party).title(),
                roles=frozenset({self.roles[party]}),
                key_sets=tuple(map(self._record, known)),
            )
        return TrustStore(
            version=DirectoryVersion(root=1, targets=3),
            expires=self.expires,
            parties=parties,
            bases=self.bases,
            policy=self.policy,
        )

    def _record(self, keys: Secrets) -> KeySetRecord:
        fingerprint = keys.key_set.fingerprint
        return KeySetRecord(
            key_set=keys.key_set,
            since=LONG_AGO,
            until=self.until.get(fingerprint),
            revoked=self.compromised.get(fingerprint, LONG_AGO if fingerprint in self.revoked else None),
        )

    def stop(self, party: str) -> Stop:
        return Stop(party=PartyId(party), key_set=self.secrets[PartyId(party)].key_set.fingerprint)


def consortium(
    stations: Sequence[str] = ("hospital-a", "hospital-b", "hospital-c"),
    *,
    owners: Sequence[str] = ("alice", "mallory"),
    schemes: Mapping[str, Sequence[Scheme]] | None = None,
) -> Consortium:
    chosen = schemes or {"hospital-b": [Scheme.ED25519, Scheme.ML_DSA_65], "hospital-c": [Scheme.P256]}
    names = {PartyId(name): Role.STATION for name in stations} | {PartyId(name): Role.OWNER for name in owners}
    return Consortium(
        secrets={party: generate(chosen.get(party, [Scheme.ED25519])) for party in names},
        roles=names,
        bases={BASE: Base(name="python", digest=BASE, note="", withdrawn=False)},
    )


def members(files: Mapping[str, bytes]) -> tuple[Member, ...]:
    def one(path: str, data: bytes) -> Member:
        return Member(path=path, size=len(data), executable=False, open=lambda: io.BytesIO(data))

    return tuple(one(path, files[path]) for path in sorted(files))


def in_letters(
    parts: TrainParts, manifest: TrainManifest, world: Consortium, known: dict[bytes, bytes] | None = None
) -> Parcel:
    """Put the parts of a train into letters, each for the readers that `manifest` gives it, whatever is in them."""
    held = {} if known is None else known
    keys = {party: one.key_set.sealing for party, one in world.secrets.items()}
    pinned = {
        one.key_set.fingerprint: one.key_set.sealing for one in (*world.secrets.values(), *world.earlier.values())
    }

    def reads(stops: Iterable[int]) -> list[str]:
        found = map(manifest.route.stop, stops)
        owner = (manifest.recipient, manifest.mail)
        return [*(pinned.get(one.key_set, keys[one.party]) for one in found if one.party in keys), *owner]

    def letter(envelope: Envelope, readers: Iterable[str | Recipient]) -> bytes:
        raw = envelope.to_bytes()
        if raw not in held:
            held[raw] = seal_letter(envelope, readers)
        return held[raw]

    def after(index: int) -> Iterable[str | Recipient]:
        if index < manifest.route.home and is_common(manifest, index):
            return [common]
        return reads((index, *manifest.route.descendants(index)) if index < manifest.route.home else ())

    common = common_recipient(manifest)
    with contextlib.suppress(Refused):  # of another train: its letters are sealed under its own key
        common = common_recipient(read_manifest(parts.manifest.payload))
    return Parcel(
        manifest=letter(parts.manifest, reads(manifest.route.indices)),
        entries=tuple(letter(one, after(index)) for index, one in enumerate(parts.entries)),
        code=parts.code,
        states=parts.states,
    )


@dataclass
class Train:
    """A train on its way: what it consists of, and the sealed blobs by digest."""

    world: Consortium
    manifest: TrainManifest
    envelope: Envelope
    entries: list[Envelope]
    blobs: dict[Digest, bytes]
    state: StateRef | None = None
    letters: dict[bytes, bytes] = field(default_factory=dict)
    """Sealed once, by what is in them: a letter travels unchanged."""

    @property
    def verified(self) -> Verified[TrainManifest]:
        proof: Verified[bytes] = Verified(
            value=self.envelope.payload,
            digest=self.envelope.digest,
            by=self.manifest.owner.key_set,
            signatures=self.envelope.signatures,
        )
        return parse_manifest(proof)

    @property
    def id(self) -> TrainId:
        return TrainId(self.envelope.digest.hex)

    @property
    def head(self) -> Digest:
        return self.entries[-1].digest if self.entries else self.envelope.digest

    @property
    def stop(self) -> int:
        """Where it is: in a sequence, after as many stops as it has entries."""
        return len(self.entries)

    @property
    def parts(self) -> TrainParts:
        return TrainParts(
            manifest=self.envelope,
            entries=tuple(self.entries),
            code=self.manifest.code,
            states=() if self.state is None else (self.state,),
        )

    @property
    def parcel(self) -> Parcel:
        return self.sealed(self.parts)

    def sealed(self, parts: TrainParts) -> Parcel:
        """Put parts, spoiled or not, into letters for those who read this train's."""
        return in_letters(parts, self.manifest, self.world, self.letters)

    def receipt(self, stop: int) -> bytes:
        """The letter with the entry about a stop."""
        return self.parcel.entries[stop]

    def binding(self) -> StateBinding:
        route = self.manifest.route
        return StateBinding(
            train=self.id,
            stop=self.stop,
            sender=route.stop(self.stop).party,
            recipients=tuple(self.manifest.expected_at(one).party for one in route.after(self.stop)),
            previous=(self.head,),
        )

    def entry(self, state: StateRef) -> JourneyEntry:
        return JourneyEntry(
            train=self.id,
            stop=self.stop,
            attempt=1,
            station=self.manifest.route.stop(self.stop).party,
            previous=(self.head,),
            states_in=() if self.state is None else (self.state.digest,),
            state_out=state.digest,
            base=self.manifest.base,
            directory=DirectoryVersion(root=1, targets=3),
            sandbox="docker-runc-v1",
            time=NOW,
        )

    def seal(self, files: Mapping[str, bytes], binding: StateBinding | None = None) -> StateRef:
        bound = self.binding() if binding is None else binding
        sink = io.BytesIO()
        recipients = [self.world.secrets[one].key_set.sealing for one in bound.recipients]
        ref = seal_state(sink, members(files), binding=bound, recipients=recipients).ref
        self.blobs[ref.digest] = sink.getvalue()
        return ref

    def pass_stop(self, files: Mapping[str, bytes] | None = None, **changes: object) -> None:
        """Do honestly what a station does; `changes` spoil the entry before it is signed."""
        state = self.seal({"sums.json": b'{"n":%d}' % counted(self.stop)} if files is None else files)
        entry = replace(self.entry(state), **changes)  # type: ignore[arg-type] # spoiled on purpose
        station = self.manifest.route.stop(self.stop).party
        self.entries.append(sign(print_entry(entry), self.world.secrets[station].signers))
        self.state = state

    def travel(self, stops: int) -> Train:
        for _ in range(stops):
            self.pass_stop()
        return self


def train(
    world: Consortium,
    *,
    owner: str = "alice",
    route: Sequence[str] = (),
    files: Mapping[str, bytes] = CODE,
    rounds: Route | None = None,
    **changes: object,
) -> Train:
    """Build a valid train; `changes` replace fields of the manifest before it is signed."""
    stops = tuple(world.stop(name) for name in (route or ("hospital-a", "hospital-b", "hospital-c")))
    stops = stops if rounds is None else rounds.places
    keys, nonce, sink = world.secrets[PartyId(owner)], random.token_hex(16), io.BytesIO()
    readers = [world.secrets[stop.party].key_set.sealing for stop in stops]
    code = seal_code(
        sink,
        members(files),
        binding=CodeBinding(owner=PartyId(owner), nonce=nonce),
        recipients=code_recipients(readers, keys.key_set.sealing),
    )
    manifest = TrainManifest(
        name="breast-cancer",
        purpose="describe tumours",
        approval=Approval(reference="ethics 1/2026", legal_basis="GDPR Art. 9(2)(j)"),
        owner=world.stop(owner),
        code=code.ref,
        base=BASE,
        command=("python3", "main.py"),
        environment={"TZ": "UTC"},
        data=(DataNeed(name="patients", description="measurements", files=("*.csv",)),),
        outputs=(Output(path="sums.json", media_type="application/json", max_bytes=65536, schema={"type": "object"}),),
        limits=Limits(memory_bytes=256 << 20, cpu_millis=1000, wall_seconds=60, processes=32, output_bytes=1 << 20),
        route=rounds or SequenceRoute(stops=stops),
        recipient=keys.key_set.sealing,
        mail=str(MAIL.recipient),
        valid_from=NOW - timedelta(hours=1),
        valid_until=NOW + timedelta(days=14),
        nonce=nonce,
        letter_key=random.token_hex(32),
    )
    manifest = replace(manifest, **changes)  # type: ignore[arg-type] # spoiled on purpose
    return Train(
        world=world,
        manifest=manifest,
        envelope=sign(print_manifest(manifest), keys.signers),
        entries=[],
        blobs={code.ref.digest: sink.getvalue()},
    )
