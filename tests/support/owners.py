"""An owner's side of the world: a home folder, folders with trains in them, and stations that do honestly what they must.

The stations here run nothing and do not board: they take, verify, open, change the state as they are told, seal, sign and send on.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from registry.blobs import BlobFolder
from registry.depot import Depot, Receipt, ReceiptKind
from registry.memory import MemoryRegistry
from registry.places import Login
from registry.port import Registry
from security.archive import Budget
from security.directory.trust import DirectoryVersion, TrustStore
from security.files import make_folder
from security.ids import PartyId, TrainId
from security.keys.keyset import Secrets
from security.statement.envelope import Envelope, sign
from security.train.journey import JourneyEntry, Outcome, Refusal, StateRef, TrainParts, print_entry, print_refusal
from security.train.letters import (
    check_readers,
    entry_recipients,
    open_letter,
    open_parcel,
    refusal_recipients,
    seal_letter,
    with_common,
)
from security.train.route import counted
from security.train.seal import CODE_BUDGET, StateBinding, open_code, open_state, seal_state
from security.train.verify import verify_train
from tests.support.trains import NOW, Consortium, consortium, members
from train_builder.build.submit import Submitted, submit
from train_builder.follow.collect import HomeTrain, bring_home
from train_builder.follow.follow import Whereabouts, follow
from train_builder.home import Home, TrainRecord
from train_builder.settings import Settings

SPEC = """\
train: sums
purpose: add numbers
approval: {reference: ethics 1/2026}
base: python
command: [python3, main.py]
route: [hospital-a, hospital-b, hospital-c]
outputs:
  - {path: sums.json, media_type: application/json, max_bytes: 10KB}
limits: {memory: 64MiB, cpu: 0.5, wall_time: 5min, processes: 8, output: 1MiB}
valid: 14d
boarding: false
"""
ROUNDS = """\
train: sums
purpose: add numbers
approval: {reference: ethics 1/2026}
base: python
code: code
rounds:
  stations: [hospital-a, hospital-b]
  junction: hospital-a
  most: 20
contribute: [python3, main.py]
combine: [python3, combine.py]
outputs:
  - {path: part.json, media_type: application/json, max_bytes: 10KB, task: contribute}
  - {path: model.json, media_type: application/json, max_bytes: 10KB, task: combine}
limits: {memory: 64MiB, cpu: 0.5, wall_time: 5min, processes: 8, output: 1MiB}
valid: 14d
"""
BUDGET = Budget(total_bytes=1 << 20, member_bytes=1 << 20, members=100)


def write_train(folder: Path, spec: str = SPEC, files: Mapping[str, str] | None = None) -> Path:
    """Write a train's folder."""
    (folder / "code").mkdir(parents=True)
    (folder / "train.yaml").write_text(spec)
    for name, text in ({"main.py": "print('hello')\n"} if files is None else files).items():
        path = folder / "code" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@dataclass
class OwnerWorld:
    """A consortium, its registry, and a folder for everybody's files."""

    path: Path
    world: Consortium = field(default_factory=consortium)
    registry: Registry = field(default_factory=MemoryRegistry)
    now: datetime = NOW

    @property
    def depot(self) -> Depot:
        return Depot(self.registry)

    def home(self, party: str = "alice") -> Home:
        settings = Settings(party=PartyId(party), registry="memory:", login=Login(), directory="memory:")
        path = make_folder(self.path / f"home-{party}")
        return Home(path=path, settings=settings)

    def secrets(self, party: str) -> Secrets:
        return self.world.secrets[PartyId(party)]

    def submit(
        self, folder: Path, *, owner: str = "alice", depot: Depot | None = None, again: bool = False
    ) -> Submitted:
        return submit(
            folder,
            self.home(owner),
            depot=depot or self.depot,
            trust=self.world.trust,
            unlock=lambda: self.secrets(owner),
            now=self.now,
            again=again,
        )

    def pass_stop(self, station: str, *, files: Mapping[str, bytes] | None = None, receipt: bool = True) -> TrainParts:
        """Let a station do its part with the train that waits for it."""
        me, keys = PartyId(station), self.secrets(station)
        (arrival,) = self.depot.arrivals(me)
        blobs = BlobFolder(self.path / f"spool-{station}")
        parcel = self.depot.take(arrival, blobs)
        opened = open_parcel(parcel, [keys.identity])
        parts = opened.parts
        accepted = verify_train(parts, self.world.trust, here=me, now=self.now)
        check_readers(opened, accepted)
        manifest, stop = accepted.manifest.value, accepted.stop
        room = make_folder(self.path / "rooms" / f"{accepted.train.short}-{stop}")
        with blobs.open(parts.code.digest) as source:
            open_code(
                source,
                manifest=manifest,
                identities=[keys.identity],
                into=make_folder(room / "code"),
                budget=CODE_BUDGET,
            )
        for state_in, binding in zip(accepted.states, accepted.received(), strict=True):
            with blobs.open(state_in.digest) as source:
                open_state(
                    source,
                    state_in,
                    binding=binding,
                    identities=[keys.identity],
                    into=make_folder(room / "state"),
                    budget=BUDGET,
                )
        left = {"sums.json": b'{"n":%d}' % counted(stop)} if files is None else files
        state = self.seal(left, blobs, accepted.to_send())
        entry = JourneyEntry(
            train=accepted.train,
            stop=stop,
            attempt=1,
            station=me,
            previous=accepted.journey.previous,
            states_in=accepted.journey.states,
            state_out=state.digest,
            base=manifest.base,
            directory=DirectoryVersion(root=1, targets=3),
            sandbox="docker-runc-v1",
            time=self.now,
        )
        envelope = sign(print_entry(entry), keys.signers)
        letter = seal_letter(envelope, entry_recipients(manifest, stop, self.world.trust, self.now))
        onward_parcel = replace(parcel, entries=(*parcel.entries, letter), states=(state,))
        sent = TrainParts(manifest=parts.manifest, entries=(*parts.entries, envelope), code=parts.code, states=(state,))
        for onward in manifest.route.after(stop):
            party = manifest.expected_at(onward).party
            self.depot.send(
                onward_parcel,
                blobs,
                to=party,
                train=accepted.train,
                stop=None if onward == manifest.route.home else onward,
                near={parts.code.digest: me},
            )
        if receipt:
            self.depot.send_receipt(
                letter, owner=manifest.owner.party, train=accepted.train, stop=stop, kind=ReceiptKind.ENTRY
            )
        self.depot.remove(arrival)
        return sent

    def read(self, record: TrainRecord, receipt: Receipt) -> Envelope:
        """Open a receipt as its owner does."""
        letter = self.depot.read_receipt(record.manifest.owner.party, receipt)
        return open_letter(letter, with_common(record.manifest, [record.mail])).envelope

    def follow(self, record: TrainRecord) -> Whereabouts:
        """Where its owner sees a train."""
        return follow(record, self.depot, self.world.trust, now=self.now)

    def bring_home(
        self,
        train: TrainId,
        *,
        owner: str = "alice",
        depot: Depot | None = None,
        trust: TrustStore | None = None,
    ) -> HomeTrain:
        """Let an owner bring a train home; one that it has not made, with its own keys."""
        home = self.home(owner)
        made = [one.mail for one in home.records() if one.train == train]
        return bring_home(
            train,
            home,
            identity=made[0] if made else self.secrets(owner).identity,
            depot=depot or self.depot,
            trust=trust or self.world.trust,
            now=self.now,
        )

    def refuse(self, station: str, record: TrainRecord, stop: int, outcome: Outcome) -> None:
        """Let a station sign that the train did not pass."""
        refusal = Refusal(
            train=record.train,
            stop=stop,
            station=PartyId(station),
            outcome=outcome,
            directory=DirectoryVersion(root=1, targets=3),
            time=self.now,
        )
        self.tell(station, record, refusal)

    def tell(self, station: str, record: TrainRecord, refusal: Refusal) -> None:
        """Let a station sign a refusal and send it to the owner."""
        envelope = sign(print_refusal(refusal), self.secrets(station).signers)
        readers = refusal_recipients(record.manifest, self.secrets(station).key_set.sealing)
        self.depot.send_receipt(
            seal_letter(envelope, readers),
            owner=record.manifest.owner.party,
            train=record.train,
            stop=refusal.stop,
            kind=ReceiptKind.REFUSAL,
        )

    def journey(self, folder: Path | None = None, *, left: Mapping[str, bytes] | None = None) -> TrainId:
        """Submit a train and let every station pass it; each leaves the same."""
        submitted = self.submit(write_train(self.path / "train") if folder is None else folder, again=True)
        route = submitted.record.manifest.route
        for stop in route.indices:
            self.pass_stop(route.stop(stop).party, files=left)
        return submitted.record.train

    def seal(self, files: Mapping[str, bytes], blobs: BlobFolder, binding: StateBinding) -> StateRef:
        """Seal a state for the party its binding names."""
        sink = io.BytesIO()
        recipients = [self.secrets(one).key_set.sealing for one in binding.recipients]
        ref = seal_state(sink, members(files), binding=binding, recipients=recipients).ref
        sink.seek(0)
        blobs.put(ref.digest, ref.size, sink)
        return ref
