"""Which data does a station say it has?

A station's catalogue is an in-toto statement in a DSSE envelope, signed like everything a station says: its data sets, each
with its columns, and how many patients there are in coarse bands. Nothing else in it comes from the data. It is published
for everybody in the consortium who may read the registry; what is in it is the operator's choice, one data set at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Final

from security.digest import Digest, digest_of
from security.directory.trust import TrustStore
from security.encoding import dump_json
from security.errors import MalformedStatement
from security.forms.form import Number, Text
from security.forms.many import Many
from security.forms.record import Record, Rule
from security.ids import PartyId, Role
from security.keys.keyset import Signer
from security.statement.envelope import Envelope, Verified, sign, verify
from security.statement.form import StatementForm
from security.tables.column import MOST_COLUMNS, NAME, Column, column_named, names_apart
from security.train.manifest import NAMES

CATALOGUE_TYPE: Final = "urn:pht:statement:catalogue:v1"
MAX_CATALOGUE: Final = 4 << 20
_SUBJECT: Final = "data"
_BANDS: Final = "0|[1-9][0-9]{0,15}(?:-[1-9][0-9]{0,15})?"


def _has_patient(one: CatalogueEntry) -> bool:
    return one.columns is None or (one.patient is not None and column_named(one.columns, one.patient) is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """A data set of a station. `columns` are those of a table; a folder has none, and runs see all of it.

    `patients` is how many there are, as the two ends of a band; `least_patients` how many a selection must have at least.
    """

    RULES: ClassVar = (
        Rule(
            says="a table has columns of different names, and one of them tells patients apart",
            holds=lambda one: _has_patient(one) and names_apart(one.columns or ()),
            field="columns",
        ),
    )

    name: Annotated[str, Text(most=60, pattern=NAMES)]
    description: Annotated[str | None, Text(most=2000)] = None
    columns: Annotated[tuple[Column, ...] | None, Many(least=1, most=MOST_COLUMNS)] = None
    patient: Annotated[str | None, NAME] = None
    patients: Annotated[str | None, Text(most=40, pattern=_BANDS, says="a band, such as 100-199")] = None
    least_patients: Annotated[int | None, Number(least=1)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What a station says it has."""

    RULES: ClassVar = (
        Rule(
            says="each data set is listed once",
            holds=lambda one: len({entry.name for entry in one.data}) == len(one.data),
            field="data",
        ),
    )

    station: PartyId
    made_at: datetime
    data: Annotated[tuple[CatalogueEntry, ...], Many(most=500)]

    @property
    def content(self) -> Digest:
        """The digest of the data sets as they are listed."""
        return digest_of(dump_json([_ENTRY.write(one) for one in self.data]))


_ENTRY: Final = Record(CatalogueEntry)
CATALOGUE: Final = StatementForm(type=CATALOGUE_TYPE, record=Record(Catalogue), subjects={_SUBJECT: "content"})


def sign_catalogue(catalogue: Catalogue, signers: Sequence[Signer]) -> Envelope:
    """Sign what a station says it has.

    Raises:
        MalformedStatement: nobody would take it for a catalogue.
    """
    payload = CATALOGUE.print(catalogue)
    CATALOGUE.read(payload)
    return sign(payload, signers)


def read_catalogue(envelope: Envelope, *, station: PartyId, trust: TrustStore, now: datetime) -> Verified[Catalogue]:
    """Verify a catalogue against the keys that the directory has for the station now.

    Raises:
        KeyNotTrusted, KeyRevoked, KeyOutsideValidity: the directory has no such station, or no keys of it that count.
        SignatureRejected: a key of the station's key set did not sign, or not this.
        MalformedStatement: not a catalogue, or not this station's.
    """
    found = CATALOGUE.parse(verify(envelope, trust.current(station, Role.STATION, now)))
    if found.value.station != station:
        msg = "catalogue is of another station"
        raise MalformedStatement(msg, station=found.value.station, expected=station)
    return found
