"""Can what is damaged in the spool be had again?

What arrived can, as long as it lies in our mailbox: it is there until the visit ends, and every blob has its digest. What
was in its letters can be taken out of them again. What this station made itself (a sealed state, a signature) cannot.
"""

from __future__ import annotations

from security.digest import Digest, digest_stream
from security.errors import FileMissing
from security.train.letters import open_parcel
from station.house.house import House
from station.steps.evidence import print_envelopes
from station.steps.fetch import take_again
from station.visit.state import Visit


def mend(visit: Visit, house: House) -> bool:
    """Fetch again whatever of a visit's arrival is missing or damaged; return whether something was, and everything is whole now.

    Raises:
        NotInRegistry, RegistryDenied: our mailbox does not have it any more.
        RegistryUnavailable, RegistryMisbehaved: nobody can tell now.
        NotARecipient: the keys that open its letters are not here.
    """
    fetched = visit.fetched
    sealed = () if fetched is None else fetched.sealed
    held = {blob.digest for blob in (fetched.blobs if fetched else ())}
    damaged = [digest for digest in sorted(held) if not _whole(digest, house)]
    if not damaged:
        return False
    for digest in damaged:
        house.spool.drop(digest)
    parcel = take_again(visit, house, wanted=bool(sealed))
    house.spool.keep(print_envelopes(open_parcel(parcel, [one.identity for one in house.keyring]).parts))
    house.spool.settle()
    return all(_whole(digest, house) for digest in damaged)


def _whole(digest: Digest, house: House) -> bool:
    try:
        with house.spool.open(digest) as source:
            return digest_stream(source)[0] == digest
    except (FileMissing, OSError):
        return False
