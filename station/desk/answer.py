"""How does a person tell an owner more about why a train ended here than the refusal says?

The refusal is signed once and says a class; what more may be told is a person's decision. It is a statement of its own,
kept in the journal with who made it, and replaces an earlier one about the same stop.
"""

from __future__ import annotations

from datetime import datetime

from registry.depot import ReceiptKind
from security.statement.envelope import sign
from security.train.journey import StationAnswer, print_answer
from security.train.letters import refusal_recipients, seal_letter
from security.train.manifest import read_manifest
from station.desk.decide import line_for_owner
from station.desk.house import house_of
from station.desk.opening import Unlock, find_visit, journal_of, keyring_for
from station.errors import NothingToDecide
from station.house.config import StationConfig
from station.house.spool import Spool
from station.steps.evidence import accepted_manifest, keys_for, parts_of
from station.visit.events import SignedKind
from station.visit.plan import phase_of
from station.visit.state import Visit
from station.visit.station_events import Answered


def answer(config: StationConfig, train: str, *, text: str, by: str, unlock: Unlock, now: datetime) -> Visit:
    """Sign the text and put it into the owner's mailbox. It may be repeated if the registry was away.

    Raises:
        InvalidInput: it is no line of text, or too long.
        NothingToDecide: the train did not end here, or its owner has not been told so yet.
        VisitUnknown: no such train is here.
        RegistryUnavailable: it was recorded and not sent.
    """
    line = line_for_owner(text)
    with journal_of(config) as journal:
        visit = find_visit(journal, train)
        if visit.accepted is None or visit.signed is None or visit.signed.what is not SignedKind.REFUSAL:
            msg = "this station has signed no refusal of this train"
            hint = "'pht station refuse --tell' tells the owner at once; a train that was sent on needs no answer"
            raise NothingToDecide(msg, visit=visit.arrival.short, phase=phase_of(visit), hint=hint)
        accepted = visit.accepted
        route = read_manifest(parts_of(visit, Spool(config.spool)).manifest.payload).route
        named, purpose = (route.stop(accepted.stop).key_set,), f"answer the owner of {accepted.train}"
        keys = keyring_for(config, journal, unlock, named=named, purpose=purpose, now=now)
    statement = StationAnswer(train=accepted.train, stop=accepted.stop, station=config.party, text=line, time=now)
    with house_of(config, keys) as house:
        manifest = accepted_manifest(visit, house)
        ours = keys_for(manifest, accepted.stop, house)
        envelope = sign(print_answer(statement), ours.signers)
        house.journal.note(Answered(at=now, arrival=visit.arrival, by=by, text=line, statement=envelope.digest))
        letter = seal_letter(envelope, refusal_recipients(manifest, ours.key_set.sealing))
        house.depot.send_receipt(
            letter, owner=accepted.owner, train=accepted.train, stop=accepted.stop, kind=ReceiptKind.ANSWER
        )
    return visit
