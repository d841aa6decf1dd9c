"""What does a station give those who take part in a train with it, before anything has departed?

A *boarding pass*: keys made for this train alone. States are sealed for its recipient, so that a disk and long-lived keys,
stolen later, open no past state (attack T26). With its mask key and the seeds it shares masks with each of the others, for sums
of which nobody sees the parts. It stands in the entry that the station signs about its boarding, and so is bound to the train,
its code and its route, and named by everything that comes after (attack T27). The private halves lie sealed at the station until
the train has ended there.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final

from security.age import Identity, Unwrapper, another_like, decrypt, encrypt, parse_identity, parse_recipient
from security.encoding import Fields, dump_json, parse_json
from security.errors import BoardingRejected, InvalidInput, Malformed, NotARecipient, SealBroken
from security.forms.form import Text
from security.forms.many import Many
from security.ids import PartyId
from security.sums.errors import MaskKeyRejected
from security.sums.mask import SIZE, MaskKey, MaskPublicKey, new_seed
from security.train.route import MOST_STATIONS

_HEX: Final = f"[0-9a-f]{{{2 * SIZE}}}"
_BASE64: Final = "[A-Za-z0-9+/]{4,8000}={0,2}"
MOST_SECRETS: Final = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSeed:
    """What a station and a later one share their masks by, sealed for the later one alone, in base64."""

    party: PartyId
    sealed: Annotated[str, Text(most=8002, pattern=_BASE64, says="an age file in base64")]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardingPass:
    """A station's keys for one train: an age recipient, an X25519 mask key, and a seed for each station after it."""

    recipient: Annotated[str, Text(most=4096, says="an age recipient that is used for this train only")]
    mask_key: Annotated[str, Text(most=2 * SIZE, pattern=_HEX, says="an X25519 public key, in hexadecimal")]
    seeds: Annotated[tuple[SealedSeed, ...], Many(most=MOST_STATIONS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassSecrets:
    """The private halves of a pass, and the seeds that its station made. Never leaves the station's folder."""

    identity: Identity = field(repr=False)
    mask_key: MaskKey = field(repr=False)
    seeds: Mapping[PartyId, bytes] = field(repr=False)

    @classmethod
    def generate(cls, like: str, later: Sequence[PartyId]) -> PassSecrets:
        """Make new ones; the identity can share files with the recipient `like`."""
        identity = another_like(parse_recipient(like))
        return cls(identity=identity, mask_key=MaskKey.generate(), seeds={party: new_seed() for party in later})

    def to_bytes(self) -> bytes:
        """Return what is sealed into the station's folder."""
        return dump_json(
            {
                "identity": self.identity.secret_text(),
                "maskKey": self.mask_key.secret().hex(),
                "seeds": {str(party): seed.hex() for party, seed in self.seeds.items()},
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> PassSecrets:
        """Read what `to_bytes` wrote.

        Raises:
            Malformed: it is something else.
        """
        fields = Fields(parse_json(raw, limit=MOST_SECRETS), "pass")
        identity, mask = fields.text("identity", most=4096), fields.text("maskKey", most=2 * SIZE)
        seeds = fields.mapping("seeds")
        fields.end()
        return cls(
            identity=parse_identity(identity),
            mask_key=MaskKey(bytes.fromhex(mask)),
            seeds={PartyId(party): bytes.fromhex(str(seed)) for party, seed in seeds.items()},
        )

    def pass_for(self, recipients: Mapping[PartyId, str]) -> BoardingPass:
        """Return the pass: each seed is sealed for the recipient that the directory has for its party."""
        return BoardingPass(
            recipient=str(self.identity.recipient),
            mask_key=self.mask_key.public.public.hex(),
            seeds=tuple(
                SealedSeed(party=party, sealed=_sealed(seed, recipients[party])) for party, seed in self.seeds.items()
            ),
        )


def check_pass(found: BoardingPass, *, later: Sequence[PartyId], like: str) -> None:
    """Demand that the keys of a pass are keys, for a recipient of the same kind as `like`, and that it has a seed for each station `later`.

    Raises:
        BoardingRejected: the recipient is none, or cannot share a file with the others; the mask key is a point of low order or
            in a second spelling; a seed is missing, or there is one more.
    """
    try:
        kinds = {parse_recipient(one).kind for one in (found.recipient, like)}
        MaskPublicKey(public=bytes.fromhex(found.mask_key))
    except (InvalidInput, MaskKeyRejected) as error:
        msg = "a boarding pass holds a key that is none"
        raise BoardingRejected(msg, reason=error.message) from error
    if len(kinds) != 1:
        msg = "a boarding pass holds a recipient of another kind than the train's"
        raise BoardingRejected(msg, kinds=sorted(kinds))
    if [one.party for one in found.seeds] != list(later):
        msg = "a boarding pass must hold a seed for each station after its own, in their order, and no other"
        raise BoardingRejected(msg)


def check_company(passes: Mapping[PartyId, BoardingPass]) -> None:
    """Demand that no two stations show the same key as their own.

    Two equal recipients would make a state for too few, and two equal mask keys a pair that shares no secret.

    Raises:
        BoardingRejected: two do.
    """
    for keys in ([one.recipient for one in passes.values()], [one.mask_key for one in passes.values()]):
        if len(set(keys)) != len(keys):
            msg = "two boarding passes hold the same key"
            raise BoardingRejected(msg)


def open_seed(found: BoardingPass, party: PartyId, identities: Sequence[Unwrapper]) -> bytes:
    """Open the seed that a pass holds for us.

    Raises:
        BoardingRejected: there is none, or it is not for us, or no seed.
    """
    sealed = next((one.sealed for one in found.seeds if one.party == party), None)
    try:
        seed = b"" if sealed is None else _opened(base64.b64decode(sealed, validate=True), identities)
    except (ValueError, Malformed, NotARecipient, SealBroken) as error:
        msg = "the seed in a boarding pass cannot be opened here"
        raise BoardingRejected(msg, party=party) from error
    if len(seed) != SIZE:
        msg = "a boarding pass holds no seed for a station after it"
        raise BoardingRejected(msg, party=party)
    return seed


def _opened(sealed: bytes, identities: Sequence[Unwrapper]) -> bytes:
    with decrypt(io.BytesIO(sealed), identities) as plain:
        return plain.read()


def _sealed(seed: bytes, recipient: str) -> str:
    sink = io.BytesIO()
    with encrypt(sink, [parse_recipient(recipient)]) as plain:
        plain.write(seed)
    return base64.b64encode(sink.getvalue()).decode()
