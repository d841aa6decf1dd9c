"""What is a train: which code, on which base image, with which needs, limits and outputs, along which route?

The manifest is an in-toto Statement whose subjects are the sealed code and the base image. Its fields are declared once:
parser, printer and ``schemas/train-manifest.json`` follow from the classes below.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Final

from security.age import parse_recipient
from security.digest import Digest
from security.encoding import Json
from security.errors import InvalidInput, Malformed, MalformedStatement
from security.forms.form import Choice, Flag, Number, Text
from security.forms.many import AnyObject, Many, Table
from security.forms.record import Record, Rule
from security.ids import PartyId, Role, TrainId
from security.statement.envelope import MAX_PAYLOAD, Verified, parse_statement
from security.statement.form import StatementForm
from security.tables.column import MOST_COLUMNS
from security.tables.column import NAME as COLUMN_NAME
from security.tables.parse import LONGEST as MOST_WHERE
from security.train.route import Route, Stop, Task
from security.train.route_kinds import KINDS, RoundsRoute
from security.train.sum_form import NPY, SUM_FOLDER, Sum

MANIFEST_TYPE: Final = "urn:pht:statement:train-manifest:v1"
CODE_SUBJECT: Final = "code"
BASE_SUBJECT: Final = "base"
NONCES: Final = "[0-9a-f]{32}"
LETTER_KEYS: Final = "[0-9a-f]{64}"

ENVIRONMENT_NAMES: Final = "LANG|LC_[A-Z]{2,20}|TZ|PYTHONHASHSEED|OMP_NUM_THREADS|TRAIN_[A-Z0-9_]{1,40}"
"""Names a train may set. Everything a loader or an interpreter acts on (``LD_*``, ``PYTHONPATH``…) is not among them."""

NAMES: Final = "[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?"
"""Names of trains, and of data sets."""

PATTERNS: Final = r"(?!/)(?!(?:.*/)?\.{0,2}(?:/|$))[A-Za-z0-9_.*?/-]{1,200}"
"""Relative file names, with ``*`` and ``?``; no part of one is empty, ``.`` or ``..``."""

_NO_NUL: Final = r"[^\u0000]*"
_NAME: Final = Text(most=60, pattern=NAMES, says="a name of 1 to 60 of a-z, 0-9 and '-'")
MAX_VALIDITY: Final = timedelta(days=366)
LEAST_MEMORY: Final = 16 << 20
MOST_WALL: Final = timedelta(days=31)
_LEAST_ADDERS: Final = 2
LONGEST_COMMAND: Final = 4000
"""Characters of a command in all: a person reads it before approving it, and longer programs are code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The approval that the owner claims for the analysis: free text, and optionally a machine-readable legal basis."""

    reference: Annotated[str, Text(most=2000, says="the approval's reference, in up to 2000 characters")]
    legal_basis: Annotated[
        str | None, Text(most=200, says="a machine-readable legal basis, in up to 200 characters")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRef:
    """The sealed code: digest and size in bytes of the age file. Only its recipients know what is inside."""

    digest: Digest
    size: Annotated[int, Number(least=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataNeed:
    """A data set the train asks each station for, by name: a table's columns and rows, or a folder with files.

    Of a table, ``columns`` in their order, for the rows that ``where`` is true for (`security.tables.parse`), as CSV, and
    as Parquet too if ``parquet``. Of a folder, all of it, in which ``files`` are expected.
    """

    RULES: ClassVar = (
        Rule(
            says="a table is asked for by columns, a folder by files",
            holds=lambda need: (need.columns is None) != (need.files is None),
            field="files",
        ),
        Rule(
            says="only of a table rows are selected",
            holds=lambda need: need.columns is not None or (need.where is None and need.parquet is None),
            field="columns",
        ),
    )

    name: Annotated[str, _NAME]
    description: Annotated[str, Text(most=2000, says="what the data set should hold, in up to 2000 characters")]
    columns: Annotated[
        tuple[str, ...] | None,
        Many(of=COLUMN_NAME, least=1, most=MOST_COLUMNS, says="the columns wanted of a table, as a list"),
    ] = None
    where: Annotated[
        str | None, Text(most=MOST_WHERE, says="which rows are wanted, such as: age >= 18 and sex in ('f', 'm')")
    ] = None
    parquet: Annotated[bool | None, Flag(says="true for a Parquet file beside the CSV one")] = None
    files: Annotated[
        tuple[str, ...] | None,
        Many(
            of=Text(most=200, pattern=PATTERNS, says="a relative file name or pattern, such as '*.csv'"),
            most=64,
            says="file names or patterns, as a list",
        ),
    ] = None

    @property
    def asks(self) -> str:
        """What is asked for, in words, and whole: a person decides on it."""
        if self.columns is None:
            return ", ".join(self.files or ()) or "any files"
        rows = "all rows" if self.where is None else f"rows with {self.where}"
        return f"{', '.join(self.columns)}; {rows}" + ("; as Parquet too" if self.parquet else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A file, or a pattern of files, that the train declares to leave behind in the state.

    ``max_bytes`` holds for each file; ``schema`` is a JSON Schema (draft 2020-12) for JSON, or for the rows of CSV. In a train
    of rounds, ``task`` says whether a contribution leaves it or a combination. What contributions leave may be added up as a
    ``sum``: numbers in JSON, or in ``.npy`` (`NPY`).
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            says="a sum is one file that stations leave, not a combination, of JSON without a schema, or .npy, with room for what is sent",
            holds=lambda one: one.sum is None or one.can_be_summed,
            field="sum",
        ),
    )

    path: Annotated[
        str, Text(most=200, pattern=PATTERNS, says="a file name or pattern below /pht/state, such as 'sums.json'")
    ]
    media_type: Annotated[
        str,
        Text(
            most=160,
            pattern="[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,100}",
            says="a media type, such as application/json",
        ),
    ]
    max_bytes: Annotated[int, Number()]
    schema: Annotated[Json, AnyObject(says="a JSON Schema (draft 2020-12)")] = None
    task: Annotated[
        Task | None,
        Choice(Task.CONTRIBUTE, Task.COMBINE, says="which task of a round leaves it: contribute or combine"),
    ] = None

    sum: Sum | None = None

    @property
    def can_be_summed(self) -> bool:
        """Whether it is declared as a sum must be."""
        fits = self.sum is not None and self.max_bytes >= self.sum.masked_bytes
        kind = self.media_type in {"application/json", NPY} and self.schema is None
        return fits and kind and self.task is not Task.COMBINE and not set(self.path) & {"*", "?"}

    def covers(self, path: str) -> bool:
        """Whether a file of the state falls under this declaration; ``*`` does not cross a ``/``."""
        ours, theirs = self.path.split("/"), path.split("/")
        return len(ours) == len(theirs) and all(map(fnmatch.fnmatchcase, theirs, ours))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run may use: bytes, thousandths of a CPU, seconds, processes, and bytes of state it may leave."""

    memory_bytes: Annotated[int, Number(least=LEAST_MEMORY)]
    cpu_millis: Annotated[int, Number(least=50, most=1_024_000)]
    wall_seconds: Annotated[int, Number(least=1, most=MOST_WALL // timedelta(seconds=1))]
    processes: Annotated[int, Number(least=1, most=100_000, says="a whole number from 1 to 100000")]
    output_bytes: Annotated[int, Number()]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainManifest:
    """The owner's statement of what a train is. Immutable for life; its signed bytes give the train its id.

    The results are sealed for ``recipient``, the owner's key. ``mail`` is a key that the owner made for this train alone:
    what tells where it is, and no results, is sealed for both, so that following a train takes no passphrase. ``letter_key`` is
    32 random bytes in hexadecimal digits: what every party of the train reads is sealed under it (`security.train.letters`). Whoever
    reads the manifest has it, and reads those letters anyway.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            says="data sets have different names",
            holds=lambda one: len({need.name for need in one.data}) == len(one.data),
            field="data",
        ),
        Rule(
            says=f"the command has at most {LONGEST_COMMAND} characters in all",
            holds=lambda one: sum(map(len, one.command)) <= LONGEST_COMMAND,
            field="command",
        ),
        Rule(
            says="there is a command to combine exactly where the route is one of rounds",
            holds=lambda one: (
                (one.combine is not None) == any(one.route.task(end) is Task.COMBINE for end in one.route.ends)
            ),
            field="combine",
        ),
        Rule(
            says=f"the command to combine has at most {LONGEST_COMMAND} characters in all",
            holds=lambda one: sum(map(len, one.combine or ())) <= LONGEST_COMMAND,
            field="combine",
        ),
        Rule(
            says="in a train of rounds each output says of which task it is, and both tasks have outputs; in others none does",
            holds=lambda one: {output.task for output in one.outputs} == one.tasks,
            field="outputs",
        ),
        Rule(
            says="sums are taken on a boarded route over two stations or more, each once, whose total has room; none is called 'sum', or falls under another output",
            holds=lambda one: all(one.can_add_up(output) for output in one.outputs if output.sum is not None),
            field="outputs",
        ),
        Rule(
            says="a station keeps something from stop to stop on a boarded route only",
            holds=lambda one: one.keep_bytes is None or one.route.legs is not one.route,
            field="keepBytes",
        ),
        Rule(
            says="the validity is at least a second, and at most 366 days",
            holds=lambda one: timedelta(0) < one.valid_until - one.valid_from <= MAX_VALIDITY,
            field="validUntil",
        ),
        Rule(
            says="mail is an age recipient of the same kind as recipient, and another one",
            holds=lambda one: _share_a_file(one.recipient, one.mail),
            field="mail",
        ),
    )

    name: Annotated[str, _NAME]
    purpose: Annotated[str, Text(most=2000, says="what the analysis is for, in up to 2000 characters")]
    approval: Approval
    owner: Stop
    code: CodeRef
    base: Digest
    command: Annotated[
        tuple[str, ...],
        Many(
            of=Text(most=1000, pattern=_NO_NUL, says="a word of the command, as text of up to 1000 characters"),
            least=1,
            most=64,
            says="the program and its arguments, as a list of 1 to 64 words",
        ),
    ]
    environment: Annotated[
        Mapping[str, str],
        Table(
            keys=ENVIRONMENT_NAMES,
            of=Text(least=0, most=1000, pattern=_NO_NUL, says="text of up to 1000 characters (put numbers in quotes)"),
            says="names and values; allowed are LANG, LC_*, TZ, PYTHONHASHSEED, OMP_NUM_THREADS and TRAIN_*",
        ),
    ]
    data: Annotated[tuple[DataNeed, ...], Many(most=32, says="the data sets each station is asked for, as a list")]
    outputs: Annotated[
        tuple[Output, ...], Many(least=1, most=64, says="the files the train leaves behind, as a list of 1 to 64")
    ]
    limits: Limits
    route: Annotated[Route, KINDS]
    recipient: Annotated[str, Text(most=4096)]
    mail: Annotated[str, Text(most=4096)]
    valid_from: datetime
    valid_until: datetime
    nonce: Annotated[str, Text(most=32, pattern=NONCES)]
    letter_key: Annotated[str, Text(most=64, pattern=LETTER_KEYS)] = field(repr=False)
    combine: Annotated[
        tuple[str, ...] | None,
        Many(
            of=Text(most=1000, pattern=_NO_NUL, says="a word of the command, as text of up to 1000 characters"),
            least=1,
            most=64,
            says="the program and its arguments that combine a round, as a list of 1 to 64 words",
        ),
    ] = None

    keep_bytes: Annotated[
        int | None,
        Number(least=1, most=1 << 40, says="how many bytes a station keeps for the train between its stops there"),
    ] = None

    @property
    def tasks(self) -> set[Task | None]:
        """Which tasks its outputs must name: both of a round, or none."""
        return {None} if self.combine is None else {Task.CONTRIBUTE, Task.COMBINE}

    @property
    def adders(self) -> tuple[PartyId, ...]:
        """The stations whose numbers are added up, in their order; none on a route that comes to one of them twice."""
        legs = self.route.legs
        if isinstance(legs, RoundsRoute):
            return tuple(one.party for one in legs.stations)
        return self.route.parties if len(self.route.parties) == len(legs) else ()

    def can_add_up(self, output: Output) -> bool:
        """Whether these stations can take such a sum; under another output of its task a file could leave as the run wrote it."""
        stations, wanted = len(self.adders), output.sum
        boards = stations >= _LEAST_ADDERS and self.route.boarding(self.adders[0]) is not None
        alone = [one for one in self.outputs if one.task is output.task and one.covers(output.path)] == [output]
        room = wanted is not None and wanted.has_room(stations)
        return alone and boards and room and SUM_FOLDER not in self.route.parties

    def at_stop(self, index: int) -> TrainManifest:
        """Return the manifest as it counts at a stop: with the command and the outputs of its task. A combination sees no data."""
        if self.combine is None:
            return self
        task = self.route.task(index)
        if task in {Task.BOARD, Task.DEPART}:
            party = self.route.stop(index).party
            reads = any(self.route.task(one) is Task.CONTRIBUTE for one in self.route.of(party))
            return self if reads else replace(self, data=())
        outputs = tuple(one for one in self.outputs if one.task is task)
        if task is Task.COMBINE:
            return replace(self, command=self.combine, outputs=outputs, data=())
        return replace(self, outputs=outputs)

    def expected_at(self, index: int) -> Stop:
        """Return who is expected at a stop of the route, or the owner for `Route.home`."""
        return self.owner if index == self.route.home else self.route.stop(index)

    def role_at(self, index: int) -> Role:
        """Return the role in which that party is expected there."""
        return Role.OWNER if index == self.route.home else Role.STATION

    def is_valid_at(self, now: datetime) -> bool:
        """Whether `now` lies within the validity (from inclusive, until exclusive)."""
        return self.valid_from <= now < self.valid_until


def _share_a_file(recipient: str, mail: str) -> bool:
    try:
        kinds = {parse_recipient(one).kind for one in (recipient, mail)}
    except InvalidInput:
        return False
    return len(kinds) == 1 and mail != recipient


def train_id(manifest: Verified[TrainManifest]) -> TrainId:
    """Return the train's identity: the SHA-256 of its manifest's signed bytes."""
    return TrainId(manifest.digest.hex)


MANIFEST: Final = StatementForm(
    type=MANIFEST_TYPE, record=Record(TrainManifest), subjects={CODE_SUBJECT: "code.digest", BASE_SUBJECT: "base"}
)

LIMITS: Final = Record(Limits)
OUTPUT: Final = Record(Output)

parse_manifest, read_manifest = MANIFEST.parse, MANIFEST.read


def told_manifest(payload: bytes) -> dict[str, Json]:
    """Return a manifest for programs, as its owner signed it but without the letter key: what is shown is passed on.

    Raises:
        MalformedJson, MalformedStatement: it is no manifest.
    """
    predicate = parse_statement(payload, predicate_type=MANIFEST_TYPE).predicate
    if not isinstance(predicate, dict):
        msg = "a manifest's predicate is not an object"
        raise MalformedStatement(msg)
    return {name: value for name, value in predicate.items() if name != MANIFEST.record.part("letter_key").key}


def print_manifest(manifest: TrainManifest) -> bytes:
    """Print the manifest as the statement the owner signs.

    Raises:
        InvalidInput: every station would refuse it; nothing is signed that does not parse.
    """
    try:
        payload = MANIFEST.print(manifest)
        back = MANIFEST.read(payload)
    except Malformed as error:
        raise InvalidInput(error.message, hint=error.hint, field=error.fields.get("field")) from error
    except ValueError as error:
        msg = "manifest holds a text or a number that JSON cannot express"
        raise InvalidInput(msg, name=manifest.name) from error
    if len(payload) > MAX_PAYLOAD:
        msg = "manifest is too large for an envelope"
        raise InvalidInput(msg, name=manifest.name, bytes=len(payload), limit=MAX_PAYLOAD)
    if back != manifest:
        msg = "manifest cannot be printed and read back unchanged"
        raise InvalidInput(msg, name=manifest.name)
    return payload
