"""What those see who may look: everything that was ever in a registry, and what opens with which keys."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from registry.artifact import receipt_layer
from registry.check import read_blob
from registry.depot import mailbox
from registry.memory import MemoryRegistry
from registry.names import Reference, Repository
from registry.oci import parse_manifest
from registry.port import StoredManifest
from registry.taken import fetch_sealed, take_letters
from security.age import Identity, Unwrapper, decrypt
from security.archive import Budget, unpack
from security.digest import Digest
from security.errors import NotARecipient, Refused
from security.ids import PartyId
from security.statement.envelope import sign
from security.sums.mask import MaskPublicKey
from security.sums.masked import Place
from security.train.boarding import BoardingPass, PassSecrets, open_seed
from security.train.journey import JourneyEntry, StateRef, print_entry, read_entry
from security.train.letters import Parcel, entry_recipients, open_letter, open_parcel, seal_letter, with_common
from security.train.seal import StateBinding, seal_state
from station.steps.gathered import news
from tests.support.journeys import DEPARTURE, JUNCTION
from tests.support.trains import MAIL, Train, members
from tests.support.world import MemoryBlobs, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A train as it was put into a mailbox, with what is sealed in it by digest."""

    to: Repository
    parcel: Parcel
    blobs: Mapping[Digest, bytes]

    @property
    def stop(self) -> int | None:
        """The stop that sent it, if it has passed one: that of its newest entry."""
        if not self.parcel.entries:
            return None
        return entries_of(self.parcel, [MAIL])[-1].stop

    @property
    def state(self) -> bytes:
        (state,) = self.parcel.states
        return self.blobs[state.digest]


class RecordingRegistry(MemoryRegistry):
    """A registry whose operator keeps everything."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []
        self.receipts: list[bytes] = []
        self.tagged: list[tuple[Repository, Reference, bytes, str]] = []

    def take_over(self, other: RecordingRegistry) -> None:
        """Have all that is in another registry, and that its operator has kept."""
        for name in ("_blobs", "_manifests", "_tags"):
            setattr(self, name, {repo: dict(found) for repo, found in getattr(other, name).items()})
        self.sent, self.receipts, self.tagged = [*other.sent], [*other.receipts], [*other.tagged]

    def put_manifest(self, repo: Repository, reference: Reference, raw: bytes, media_type: str) -> Digest:
        digest = super().put_manifest(repo, reference, raw, media_type)
        stored = StoredManifest(raw=raw, media_type=media_type, digest=digest)
        self.tagged.append((repo, reference, raw, media_type))
        try:
            taken = take_letters(self, repo, stored)
        except Refused:
            layer = receipt_layer(parse_manifest(raw, media_type))
            held = layer.held
            self.receipts.append(read_blob(self, repo, layer.letter, limit=layer.letter.size) if held is None else held)
            return digest
        blobs = MemoryBlobs()
        fetch_sealed(self, repo, taken, blobs)
        self.sent.append(Sent(to=repo, parcel=taken.parcel, blobs=blobs.blobs))
        return digest

    def put_again(self, repo: Repository, reference: Reference, raw: bytes, media_type: str) -> None:
        """Put into a mailbox what was there before, as who may write to it can."""
        super().put_manifest(repo, reference, raw, media_type)

    def sent_to(self, party: PartyId) -> list[Sent]:
        return [one for one in self.sent if one.to == mailbox(party)]

    @property
    def letters(self) -> set[bytes]:
        found = {letter for one in self.sent for letter in (one.parcel.manifest, *one.parcel.entries)}
        return found | set(self.receipts)

    @property
    def states(self) -> dict[Digest, bytes]:
        """The sealed states of all stops after the departure, by digest."""
        return {
            ref.digest: one.blobs[ref.digest]
            for one in self.sent
            for ref in one.parcel.states
            if one.stop is not None and one.stop > DEPARTURE
        }


def opened(sealed: bytes, identities: Sequence[Unwrapper]) -> bytes | None:
    """Try keys on something; None if none of them opens it."""
    try:
        with decrypt(io.BytesIO(sealed), identities) as plain:
            return plain.read()
    except NotARecipient:
        return None


def inside(sealed: bytes, identity: Identity) -> dict[str, bytes]:
    """Return the files in a sealed state, whatever it was sealed for."""
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "into"
        into.mkdir()
        budget = Budget(total_bytes=1 << 24, member_bytes=1 << 24, members=100)
        with decrypt(io.BytesIO(sealed), [identity]) as plain:
            unpack(plain, into=into, budget=budget, check_meta=lambda _: None)
        return {one.relative_to(into).as_posix(): one.read_bytes() for one in into.rglob("*") if one.is_file()}


def entries_of(parcel: Parcel, identities: Sequence[Unwrapper]) -> list[JourneyEntry]:
    return [read_entry(one.envelope.payload) for one in open_parcel(parcel, identities).entries]


def passes_of(entries: Iterable[JourneyEntry]) -> dict[PartyId, BoardingPass]:
    return {one.station: one.boarding for one in entries if one.boarding is not None}


def another_model(
    here: World,
    made: Train,
    sent: Sent,
    files: Mapping[str, bytes],
    *,
    to: PartyId,
    stop: int,
    readers: Callable[[Sequence[str]], Sequence[str]] = lambda right: right,
) -> None:
    """Do as a junction that sends a station another model than everybody: validly signed, and sealed for `readers`, or as it must be."""
    keys = here.consortium.secrets[JUNCTION]
    entries = entries_of(sent.parcel, [keys.identity])
    assert isinstance(here.registry, RecordingRegistry)
    entry, passes = (
        entries[-1],
        passes_of(one for sent in here.registry.sent for one in entries_of(sent.parcel, [MAIL])),
    )
    receivers = [made.manifest.route.stop(one).party for one in made.manifest.route.after(entry.stop)]
    binding = StateBinding(
        train=made.id, stop=entry.stop, sender=JUNCTION, recipients=tuple(receivers), previous=entry.previous
    )
    sink = io.BytesIO()
    recipients = readers([passes[one].recipient for one in receivers])
    state = seal_state(sink, members(files), binding=binding, recipients=recipients).ref
    envelope = sign(print_entry(replace(entry, state_out=state.digest)), keys.signers)
    letter = seal_letter(envelope, entry_recipients(made.manifest, entry.stop, here.consortium.trust, here.now))
    parcel = replace(
        sent.parcel,
        entries=(*sent.parcel.entries[:-1], letter),
        states=(StateRef(digest=state.digest, size=state.size),),
    )
    blobs = MemoryBlobs({**sent.blobs, state.digest: sink.getvalue()})
    here.depot.send(parcel, blobs, to=to, train=made.id, stop=stop)


def board_by_hand(here: World, made: Train, party: PartyId, boarding: BoardingPass) -> None:
    """Do as a station that signs a pass of its own making, and sends it to the junction."""
    route, keys = made.manifest.route, here.consortium.secrets[party]
    stop = route.boarding(party)
    assert stop is not None
    binding = StateBinding(
        train=made.id, stop=stop, sender=party, recipients=(JUNCTION,), previous=(made.envelope.digest,)
    )
    sink = io.BytesIO()
    recipient = here.consortium.secrets[JUNCTION].key_set.sealing
    state = seal_state(sink, (), binding=binding, recipients=[recipient]).ref
    entry = JourneyEntry(
        train=made.id,
        stop=stop,
        attempt=1,
        station=party,
        previous=(made.envelope.digest,),
        states_in=(),
        state_out=state.digest,
        base=made.manifest.base,
        directory=here.consortium.trust.version,
        sandbox="none",
        time=here.now,
        boarding=boarding,
    )
    envelope = sign(print_entry(entry), keys.signers)
    letter = seal_letter(envelope, entry_recipients(made.manifest, stop, here.consortium.trust, here.now))
    parcel = replace(made.parcel, entries=(letter,), states=(state,))
    blobs = MemoryBlobs({**made.blobs, state.digest: sink.getvalue()})
    part = None if stop == route.before(DEPARTURE)[0] else stop
    here.depot.send(parcel, blobs, to=JUNCTION, train=made.id, stop=DEPARTURE, part=part)


def pass_secrets(made: Train, party: PartyId) -> PassSecrets:
    """Make new keys for a pass of a station."""
    parties = made.manifest.route.parties
    return PassSecrets.generate(made.manifest.recipient, parties[parties.index(party) + 1 :])


def printed_pass(here: World, secrets: PassSecrets) -> BoardingPass:
    return secrets.pass_for({one: here.consortium.secrets[one].key_set.sealing for one in secrets.seeds})


def contribute_by_hand(
    here: World, made: Train, party: PartyId, stop: int, files: Mapping[str, bytes], *, again: bool = False
) -> None:
    """Do as a station that sends whatever it likes in the place of its part; validly signed, and sealed as it must be.

    The honest station gets nothing of it: what was sent to it is taken out of its mailbox, unless it is to be done `again`.
    """
    route, keys = made.manifest.route, here.consortium.secrets[party]
    arrival = here.depot.arrival(party, made.id, stop)
    assert arrival is not None
    blobs = MemoryBlobs()
    parcel = here.depot.take(arrival, blobs)
    if not again:
        here.depot.remove(arrival)
    previous = (open_parcel(parcel, [keys.identity]).entries[-1].envelope.digest,)
    passes = all_passes(here, made)
    binding = StateBinding(train=made.id, stop=stop, sender=party, recipients=(JUNCTION,), previous=previous)
    sink = io.BytesIO()
    state = seal_state(sink, members(files), binding=binding, recipients=[passes[JUNCTION].recipient]).ref
    entry = JourneyEntry(
        train=made.id,
        stop=stop,
        attempt=1,
        station=party,
        previous=previous,
        states_in=tuple(one.digest for one in parcel.states),
        state_out=state.digest,
        base=made.manifest.base,
        directory=here.consortium.trust.version,
        sandbox="scripted-v1",
        time=here.now,
    )
    envelope = sign(print_entry(entry), keys.signers)
    letter = seal_letter(envelope, entry_recipients(made.manifest, stop, here.consortium.trust, here.now))
    (combination,) = route.after(stop)
    came = {one.stop: there for one, there in zip(entries_of(parcel, [keys.identity]), parcel.entries, strict=True)}
    came[stop] = letter
    entries = tuple(came[one] for one in sorted(came.keys() & news(route, combination)))
    here.depot.send(
        replace(parcel, entries=entries, states=(state,)),
        MemoryBlobs({**blobs.blobs, state.digest: sink.getvalue()}),
        to=JUNCTION,
        train=made.id,
        stop=combination,
        part=None if stop == route.before(combination)[0] else stop,
    )


def place_of(here: World, made: Train, party: PartyId) -> Place:
    """Return where a station stands, with the secrets that it has and nobody else: as long as its keys are there."""
    keys = here.consortium.secrets[party]
    ours = here.houses[party].passes.find(made.id, [keys.identity])
    passes = all_passes(here, made)
    adders = made.manifest.adders
    number = adders.index(party)
    shares = {}
    for other, theirs in enumerate(adders):
        if other != number:
            seed = open_seed(passes[theirs], party, [keys.identity]) if other < number else ours.seeds[theirs]
            key = MaskPublicKey(public=bytes.fromhex(passes[theirs].mask_key))
            shares[other] = ours.mask_key.pair_with(key, seed)
    return Place(number=number, shares=shares)


def all_entries(here: World, made: Train) -> dict[Digest, JourneyEntry]:
    """Return every entry of a train that was ever sent, by its digest: its owner can read them."""
    assert isinstance(here.registry, RecordingRegistry)
    letters = {letter for one in here.registry.sent for letter in one.parcel.entries}
    keys = with_common(made.manifest, [MAIL])
    envelopes = [open_letter(one, keys).envelope for one in letters]
    found = {one.digest: read_entry(one.payload) for one in envelopes}
    return {digest: entry for digest, entry in found.items() if entry.train == made.id}


def all_passes(here: World, made: Train) -> dict[PartyId, BoardingPass]:
    return passes_of(all_entries(here, made).values())


def hangs_on(here: World, made: Train, stop: int) -> Digest:
    """Return the entry that a contribution hangs on, of which there is one."""
    (before,) = made.manifest.route.before(stop)
    (found,) = (digest for digest, entry in all_entries(here, made).items() if entry.stop == before)
    return found
