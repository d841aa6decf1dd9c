"""What is a train: which code, on which base, with which needs, limits and outputs, along which route?

`parse_manifest` accepts exactly what ``schemas/train-manifest.json`` accepts; `print_manifest` builds what the owner
signs. The manifest is an in-toto Statement whose subjects are the sealed code and the base image.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from security.digest import Digest
from security.encoding import Fields, Json, dump_json, parse_json, print_time
from security.errors import InvalidInput, Malformed, MalformedStatement
from security.ids import PartyId, Role, TrainId
from security.statement.envelope import (
    MAX_PAYLOAD,
    Statement,
    Subject,
    Verified,
    parse_statement,
    print_statement,
    verified_as,
)
from security.train.route import MAX_STOPS, Route, SequenceRoute, Stop

MANIFEST_TYPE: Final = "urn:pht:statement:train-manifest:v1"
CODE_SUBJECT: Final = "code"
BASE_SUBJECT: Final = "base"

ENVIRONMENT_NAMES: Final = re.compile(
    r"(?:LANG|LC_[A-Z]{2,20}|TZ|PYTHONHASHSEED|OMP_NUM_THREADS|TRAIN_[A-Z0-9_]{1,40})"
)
"""Names a train may set. Everything a loader or an interpreter acts on (``LD_*``, ``PYTHONPATH``…) is not among them."""

NAMES: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?")
"""Names of trains, and of data sets."""

_MEDIA = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,100}")
_PATTERN = re.compile(r"(?!/)(?!.*(?:^|/)\.{0,2}(?:/|$))[A-Za-z0-9_.*?/-]{1,200}")
_NONCE = re.compile(r"[0-9a-f]{32}")
MAX_VALUE: Final = 1000
MAX_VALIDITY: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Which approval the owner says the analysis has: free text, and optionally a machine-readable legal basis."""

    reference: str
    legal_basis: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRef:
    """The sealed code: digest and size in bytes of the age file. What is inside is known to its recipients only."""

    digest: Digest
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataNeed:
    """A data set the train asks each station for, by name, and the files it expects to find in it."""

    name: str
    description: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A file, or a pattern of files, that the train declares to leave behind in the state.

    ``max_bytes`` holds for each file; ``schema`` is a JSON Schema (draft 2020-12) for JSON, or for the rows of CSV.
    """

    path: str
    media_type: str
    max_bytes: int
    schema: Json | None = None

    def covers(self, path: str) -> bool:
        """Whether a file of the state falls under this declaration; ``*`` does not cross a ``/``."""
        ours, theirs = self.path.split("/"), path.split("/")
        return len(ours) == len(theirs) and all(map(fnmatch.fnmatchcase, theirs, ours))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run may use: bytes, thousandths of a CPU, seconds, processes, and bytes of state it may leave."""

    memory_bytes: int
    cpu_millis: int
    wall_seconds: int
    processes: int
    output_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainManifest:
    """The owner's statement of what the train is. Immutable for life; its signed bytes give the train its id."""

    name: str
    purpose: str
    approval: Approval
    owner: Stop
    code: CodeRef
    base: Digest
    command: tuple[str, ...]
    environment: Mapping[str, str]
    data: tuple[DataNeed, ...]
    outputs: tuple[Output, ...]
    limits: Limits
    route: Route
    recipient: str
    valid_from: datetime
    valid_until: datetime
    nonce: str

    def expected_at(self, index: int) -> Stop:
        """Return who is expected at a stop of the route, or the owner for `Route.home`."""
        return self.owner if index == self.route.home else self.route.stop(index)

    def role_at(self, index: int) -> Role:
        """Return the role in which that party is expected there."""
        return Role.OWNER if index == self.route.home else Role.STATION

    def is_valid_at(self, now: datetime) -> bool:
        """Whether `now` lies within the validity (from inclusive, until exclusive)."""
        return self.valid_from <= now < self.valid_until


def train_id(manifest: Verified[TrainManifest]) -> TrainId:
    """Return the train's identity: the SHA-256 of its manifest's signed bytes."""
    return TrainId(manifest.digest.hex)


def parse_manifest(verified: Verified[bytes]) -> Verified[TrainManifest]:
    """Parse the verified bytes of a manifest.

    Raises:
        MalformedStatement: a field is missing, unknown or wrong, or the subjects are not the code and the base.
    """
    return verified_as(verified, read_manifest(verified.value))


def read_manifest(payload: bytes) -> TrainManifest:
    """Parse a manifest's payload without any proof of where it comes from: to show it, or to see whose keys to try."""
    statement = parse_statement(payload, predicate_type=MANIFEST_TYPE)
    fields = Fields(statement.predicate, "predicate")
    manifest = _manifest(fields)
    fields.end()
    named = {one.name: one.digest for one in statement.subjects}
    expected = {CODE_SUBJECT: manifest.code.digest, BASE_SUBJECT: manifest.base}
    if named != expected or len(statement.subjects) != len(expected):
        msg = "manifest's subjects are not its code and its base"
        raise MalformedStatement(msg)
    return manifest


def print_manifest(manifest: TrainManifest) -> bytes:
    """Print the manifest as the statement the owner signs.

    Raises:
        InvalidInput: a value that every station would refuse; nothing is signed that does not parse.
    """
    subjects = (
        Subject(name=CODE_SUBJECT, digest=manifest.code.digest),
        Subject(name=BASE_SUBJECT, digest=manifest.base),
    )
    try:
        payload = print_statement(
            Statement(subjects=subjects, predicate_type=MANIFEST_TYPE, predicate=_printed(manifest)),
        )
        back = read_manifest(payload)
    except Malformed as error:
        raise InvalidInput(error.message, hint=error.hint, field=error.fields.get("field")) from error
    except ValueError as error:
        msg = "manifest holds a text or a number that JSON does not have"
        raise InvalidInput(msg, name=manifest.name) from error
    if len(payload) > MAX_PAYLOAD:
        msg = "manifest is too large for an envelope"
        raise InvalidInput(msg, name=manifest.name, bytes=len(payload), limit=MAX_PAYLOAD)
    if back != manifest:
        msg = "manifest does not survive being printed"
        raise InvalidInput(msg, name=manifest.name)
    return payload


def _manifest(fields: Fields) -> TrainManifest:
    name = fields.text("name", most=60)
    _match(NAMES, name, "predicate.name")
    approval, code, base = fields.fields("approval"), fields.fields("code"), fields.fields("base")
    validity, route = fields.fields("validity"), fields.fields("route")
    manifest = TrainManifest(
        name=name,
        purpose=fields.text("purpose", most=2000),
        approval=Approval(
            reference=approval.text("reference", most=2000),
            legal_basis=approval.text("legalBasis", most=200) if approval.has("legalBasis") else None,
        ),
        owner=_stop(fields.fields("owner")),
        code=CodeRef(digest=Digest(code.text("digest", most=71)), size=code.number("size", least=1)),
        base=Digest(base.text("digest", most=71)),
        command=fields.texts("command", least=1, most=64),
        environment=_environment(fields.mapping("environment")),
        data=_unique(tuple(_need(one) for one in fields.objects("data", most=32)), "predicate.data"),
        outputs=tuple(_output(one) for one in fields.objects("outputs", least=1, most=64)),
        limits=_limits(fields.fields("limits")),
        route=_route(route),
        recipient=fields.text("recipient", most=4096),
        valid_from=validity.time("from"),
        valid_until=validity.time("until"),
        nonce=fields.text("nonce", most=32),
    )
    _match(_NONCE, manifest.nonce, "predicate.nonce")
    if any("\0" in word for word in manifest.command):
        msg = "command holds a NUL character"
        raise MalformedStatement(msg, field="predicate.command")
    if not timedelta(0) < manifest.valid_until - manifest.valid_from <= MAX_VALIDITY:
        msg = "validity is empty or longer than a year"
        raise MalformedStatement(msg, field="predicate.validity")
    for inner in (approval, code, base, validity, route):
        inner.end()
    return manifest


def _stop(fields: Fields) -> Stop:
    party, key_set = fields.text("party", most=40), fields.text("keySet", most=71)
    fields.end()
    try:
        return Stop(party=PartyId(party), key_set=Digest(key_set))
    except InvalidInput as error:
        raise MalformedStatement(error.message, field=fields.where) from error


def _route(fields: Fields) -> Route:
    fields.constant("kind", "sequence")
    return SequenceRoute(stops=tuple(_stop(one) for one in fields.objects("stops", least=1, most=MAX_STOPS)))


def _limits(fields: Fields) -> Limits:
    limits = Limits(
        memory_bytes=fields.number("memoryBytes", least=16 << 20),
        cpu_millis=fields.number("cpuMillis", least=50, most=1_024_000),
        wall_seconds=fields.number("wallSeconds", least=1, most=31 * 86400),
        processes=fields.number("processes", least=1, most=100_000),
        output_bytes=fields.number("outputBytes", least=0),
    )
    fields.end()
    return limits


def _need(fields: Fields) -> DataNeed:
    need = DataNeed(
        name=fields.text("name", most=60),
        description=fields.text("description", most=2000),
        files=fields.texts("files", most=64, longest=200),
    )
    _match(NAMES, need.name, f"{fields.where}.name")
    for pattern in need.files:
        _match(_PATTERN, pattern, f"{fields.where}.files")
    fields.end()
    return need


def _output(fields: Fields) -> Output:
    output = Output(
        path=fields.text("path", most=200),
        media_type=fields.text("mediaType", most=160),
        max_bytes=fields.number("maxBytes", least=0),
        schema=dict(fields.mapping("schema")) if fields.has("schema") else None,
    )
    _match(_PATTERN, output.path, f"{fields.where}.path")
    _match(_MEDIA, output.media_type, f"{fields.where}.mediaType")
    fields.end()
    return output


def _environment(raw: Mapping[str, Json]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, value in raw.items():
        _match(ENVIRONMENT_NAMES, name, "predicate.environment")
        if not isinstance(value, str) or len(value) > MAX_VALUE or "\0" in value:
            msg = "environment value is not a short string"
            raise MalformedStatement(msg, field=f"predicate.environment.{name}")
        found[name] = value
    return found


def _unique(needs: tuple[DataNeed, ...], where: str) -> tuple[DataNeed, ...]:
    if len({need.name for need in needs}) != len(needs):
        msg = "data set is named twice"
        raise MalformedStatement(msg, field=where)
    return needs


def _match(form: re.Pattern[str], text: str, where: str) -> None:
    if form.fullmatch(text) is None:
        msg = "field does not have the right form"
        raise MalformedStatement(msg, field=where, value=text[:60])


def _printed(manifest: TrainManifest) -> Json:
    approval: dict[str, Json] = {"reference": manifest.approval.reference}
    if manifest.approval.legal_basis is not None:
        approval["legalBasis"] = manifest.approval.legal_basis
    outputs: list[Json] = []
    for one in manifest.outputs:
        output: dict[str, Json] = {"path": one.path, "mediaType": one.media_type, "maxBytes": one.max_bytes}
        if one.schema is not None:
            output["schema"] = one.schema
        outputs.append(output)
    limits = manifest.limits
    printed: Json = {
        "name": manifest.name,
        "purpose": manifest.purpose,
        "approval": approval,
        "owner": _printed_stop(manifest.owner),
        "code": {"digest": str(manifest.code.digest), "size": manifest.code.size},
        "base": {"digest": str(manifest.base)},
        "command": list(manifest.command),
        "environment": dict(manifest.environment),
        "data": [
            {"name": need.name, "description": need.description, "files": list(need.files)} for need in manifest.data
        ],
        "outputs": outputs,
        "limits": {
            "memoryBytes": limits.memory_bytes,
            "cpuMillis": limits.cpu_millis,
            "wallSeconds": limits.wall_seconds,
            "processes": limits.processes,
            "outputBytes": limits.output_bytes,
        },
        "route": _printed_route(manifest.route),
        "recipient": manifest.recipient,
        "validity": {"from": print_time(manifest.valid_from), "until": print_time(manifest.valid_until)},
        "nonce": manifest.nonce,
    }
    return parse_json(dump_json(printed))


def _printed_route(route: Route) -> Json:
    if not isinstance(route, SequenceRoute):
        raise TypeError(route)
    return {"kind": "sequence", "stops": [_printed_stop(stop) for stop in route.stops]}


def _printed_stop(stop: Stop) -> Json:
    return {"party": str(stop.party), "keySet": str(stop.key_set)}
