"""What have stations said about a train in its owner's mailbox?

Nothing that lies there is believed until `statement_in` has verified it: whoever can write to the mailbox can put anything there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

from registry.depot import Depot, Receipt, ReceiptKind
from security.age import Unwrapper
from security.directory.trust import TrustStore
from security.errors import JourneyForeignEntry, NotARecipient, PhtError, Refused
from security.ids import PartyId, TrainId
from security.statement.envelope import Verified
from security.train.endings import check_answer, check_refusal
from security.train.journey import JourneyEntry, Refusal, StationAnswer, check_entry
from security.train.letters import Letter, check_entry_readers, check_refusal_readers, open_letter, with_common
from security.train.manifest import TrainManifest
from security.train.route import Route

S = TypeVar("S", Refusal, StationAnswer)

Statement: TypeAlias = Verified[JourneyEntry] | Verified[Refusal] | Verified[StationAnswer]
Name: TypeAlias = tuple[int, ReceiptKind]

_ENDED: Final = (ReceiptKind.ENTRY, ReceiptKind.REFUSAL)
"""How a station can have done with a stop; an answer is about a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A receipt and its letter, opened, or why it could not be read; nothing of it is believed."""

    receipt: Receipt
    letter: Letter | PhtError

    @property
    def name(self) -> Name:
        """Which stop it claims to be about, and what it claims to be."""
        return self.receipt.stop, self.receipt.kind


def read_mail(
    depot: Depot,
    train: TrainId,
    manifest: TrainManifest,
    identity: Unwrapper,
    *,
    held: Iterable[Mail] = (),
    passed: Collection[int] = (),
) -> tuple[Mail, ...]:
    """Fetch and open the receipts of one train, each by its name. One that is broken does not hide the others.

    Of a train of rounds, an entry about a combination says that its round is over: only what comes after the last such entry
    is asked for stop by stop. What was read before can be `held`, and is not fetched again as long as it lies there; stops that
    are known to have `passed` are not asked for at all.
    """
    before, owner, route = {one.name: one for one in held}, manifest.owner.party, manifest.route
    identities = with_common(manifest, [identity])
    found = [one for one in before.values() if one.name in {(stop, ReceiptKind.ENTRY) for stop in passed}]
    for receipt in _receipts(depot, owner, train, route, frozenset(passed)):
        same = before.get((receipt.stop, receipt.kind))
        if same is None or same.receipt.digest != receipt.digest:
            same = Mail(receipt=receipt, letter=_opened(depot, owner, receipt, identities))
        found.append(same)
    return tuple(found)


def _opened(depot: Depot, owner: PartyId, receipt: Receipt, identities: Sequence[Unwrapper]) -> Letter | PhtError:
    try:
        return open_letter(depot.read_receipt(owner, receipt), identities)
    except (Refused, NotARecipient) as error:
        return error


def _receipts(depot: Depot, owner: PartyId, train: TrainId, route: Route, passed: frozenset[int]) -> Iterator[Receipt]:
    over = set(passed)
    for end in route.ends:
        if end not in passed:
            ended = depot.receipts_of(owner, train, (end,), (ReceiptKind.ENTRY,)) if len(route.ends) > 1 else ()
            if not ended:
                way = route.way_to(route.home, len(route.ancestors(end)) + 1)
                here = depot.receipts_of(owner, train, [one for one in way if one not in over], _ENDED)
                yield from here
                refused = [one.stop for one in here if one.kind is ReceiptKind.REFUSAL]
                yield from depot.receipts_of(owner, train, refused, (ReceiptKind.ANSWER,))
                return
            yield from ended
        over.update(route.ancestors(end), (end,))


def statement_in(mail: Mail, manifest: Verified[TrainManifest], trust: TrustStore, *, now: datetime) -> Statement:
    """Verify what is in a letter by itself: who signed it, for whom it is sealed, and that it is about the stop in its name.

    Raises:
        PhtError: it does not count, and why.
    """
    (stop, kind), letter, route = mail.name, mail.letter, manifest.value.route
    if isinstance(letter, PhtError):
        raise letter
    if stop >= route.home:
        msg = "receipt is for a stop the route does not have"
        raise JourneyForeignEntry(msg, place=route.told(stop))
    if kind is ReceiptKind.ENTRY:
        entry = check_entry(manifest, letter.envelope, stop, trust, now=now)
        check_entry_readers(letter, manifest.value, stop)
        return entry
    ending: Verified[Refusal] | Verified[StationAnswer]
    if kind is ReceiptKind.REFUSAL:
        ending = _about(stop, route, check_refusal(manifest, letter.envelope, trust))
    else:
        ending = _about(stop, route, check_answer(manifest, letter.envelope, trust))
    check_refusal_readers(letter, manifest.value, stop)
    return ending


def _about(stop: int, route: Route, found: Verified[S]) -> Verified[S]:
    """Return a statement if it is about this stop.

    Raises:
        JourneyForeignEntry: it is about another one.
    """
    if found.value.stop != stop:
        msg = "receipt is about a stop other than the one in its name"
        raise JourneyForeignEntry(msg, place=route.told(stop))
    return found
