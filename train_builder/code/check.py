"""What in this train would fail on its way, or should never leave this machine?

Findings are values; nothing here prints or stops. An *error* stops a departure unless its path is explicitly allowed; a
*warning* does not. A finding names the file and the line, never the secret.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from console.problems import did_you_mean, line_of
from security.archive import Member
from security.directory.trust import TrustStore
from security.encoding import Json
from security.errors import BaseNotApproved, InvalidInput, PhtError
from security.ids import PartyId, Role
from security.train.output_schema import cost_of
from security.train.slight import reasons_to_look
from train_builder.code.contents import looks_into, mentions, state_paths
from train_builder.code.imports import gaps
from train_builder.code.sources import SourceTree
from train_builder.code.wheels import DEBIAN_12, REQUIREMENTS, Target
from train_builder.errors import WheelsUnresolved
from train_builder.spec.spec import SPEC_FILE, TrainSpec
from train_builder.spec.units import show_size

BY_HAND: Final = "output.by-hand"
FINISHED: Final = "finished"
"""What a combination leaves in /pht/state to say that the train goes home."""
_LOOK: Final = "at each station a person must look at it and release it, unless the operator names its media type"
_NARROW: Final = "declare a schema as narrow as the results are: then stations may let it pass by themselves"
"""The code of findings about outputs that wait for a person at each station."""
_USUALLY: Final = 3
"""Stations over which a sum is taken at least, if a station's policy says nothing else."""
_LARGE_FILE: Final = 10 << 20
_LARGE_TREE: Final = 100 << 20
_JSON: Final = "application/json"
_WITH_SCHEMA: Final = frozenset({_JSON, "text/csv"})
_PLACEHOLDER: Final = re.compile(
    r"(?i)\b(?:to-?do|fixme|xxx+|tb[ad]|place-?holder|change-?me|lorem ipsum|put the reference of|your (?:ethics|reference))\b"
    r"|^[\s.?<>_-]*$|^<.*>$"
)
_OBJECTS: Final = re.compile(r".*\.(?:pkl|pickle|joblib|dill|pt|pth)")
_INTERPRETERS: Final = ("python", "sh", "bash", "dash", "Rscript", "julia", "node", "perl", "ruby")


class Level(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something found before departure. ``path`` is below the code folder, or ``train.yaml``.

    What has an ``about`` is accepted by code and that together, ``import.missing:numpy``: the code alone would hide others.
    """

    level: Level
    code: str
    path: str
    line: int | None
    text: str
    hint: str | None = None
    allowed: bool = False
    about: str | None = None

    def __str__(self) -> str:
        where = self.path if self.line is None else f"{self.path}:{self.line}"
        mark = "allowed" if self.allowed else self.level.value
        return f"{mark}: {where}: {self.text} [{self.code}]" + (f"\n    {self.hint}" if self.hint else "")


def preflight(
    spec: TrainSpec,
    tree: SourceTree,
    trust: TrustStore | None,
    *,
    now: datetime,
    allow: Sequence[str] = (),
    target: Target = DEBIAN_12,
) -> tuple[Finding, ...]:
    """Check everything that can be checked without running the train. Without a directory, `trust` is None.

    `allow` holds paths, or patterns of paths, or codes, of findings that are accepted. `target` is the Python of the base.
    """
    found = [*_sizes(tree), *_contents(tree), *_outputs(spec, tree), *_schemas(spec), *_command(spec, tree)]
    found += [
        *_finishes(spec, tree),
        *_sums(spec),
        *_python(spec, tree, target, None),
        *_placeholders(spec),
        *_for_people(spec),
    ]
    if trust is not None:
        found += _directory(spec, trust, now)
    return _allowed(found, allow)


def packed(
    spec: TrainSpec, tree: SourceTree, vendored: Sequence[Member], target: Target, *, allow: Sequence[str] = ()
) -> tuple[Finding, ...]:
    """Check what only the packages that travel along can tell: whether they have what the code imports."""
    return _allowed(_python(spec, tree, target, vendored), allow)


def _allowed(found: Iterable[Finding], allow: Sequence[str]) -> tuple[Finding, ...]:
    def accepted(one: Finding) -> bool:
        code = one.code if one.about is None else f"{one.code}:{one.about}"
        return any(code == pattern or fnmatch.fnmatchcase(one.path, pattern) for pattern in allow)

    return tuple(replace(one, allowed=accepted(one)) for one in found)


def stops_departure(findings: Sequence[Finding]) -> bool:
    """Whether there is an error that is not allowed."""
    return any(one.level is Level.ERROR and not one.allowed for one in findings)


def hint_for(findings: Sequence[Finding]) -> str:
    """Return what to do about the findings that stop a departure."""
    errors = [one for one in findings if one.level is Level.ERROR and not one.allowed]
    ours = [one for one in errors if one.path == SPEC_FILE]
    files = sorted({one.path for one in errors if one.path != SPEC_FILE})
    told = [ours[0].hint or f"correct {SPEC_FILE}"] if ours else []
    told += [f"fix what was found in the code, or accept it if it is intended: --allow {files[0]}"] if files else []
    return "; ".join(told)


def finding_document(finding: Finding) -> Json:
    """Return a finding for a program."""
    return {
        "level": finding.level.value,
        "code": finding.code,
        "path": finding.path,
        "line": finding.line,
        "text": finding.text,
        "hint": finding.hint,
        "allowed": finding.allowed,
    }


def _sizes(tree: SourceTree) -> Iterator[Finding]:
    for member in tree.members:
        if member.size > _LARGE_FILE:
            text = f"is large for code: {show_size(member.size)}"
            yield _warning("size.file", member.path, text, "every station fetches it; is it data?")
    if tree.size > _LARGE_TREE:
        yield _warning("size.code", ".", f"the code is {show_size(tree.size)} altogether")


def _contents(tree: SourceTree) -> Iterator[Finding]:
    for member in tree.members:
        for trace in looks_into(member):
            hint = (
                "remove it and make a new one: what was once in a train cannot be recalled"
                if trace.code.startswith("secret")
                else "data stay at the stations: leave it out with .phtignore, or allow it if it is not data"
            )
            level = Level.ERROR if trace.certain else Level.WARNING
            yield Finding(level=level, code=trace.code, path=member.path, line=trace.line, text=trace.text, hint=hint)


def _outputs(spec: TrainSpec, tree: SourceTree) -> Iterator[Finding]:
    """Find paths below /pht/state in the code that no declared output covers: the gate would refuse them."""
    for member in tree.members:
        for path, line in state_paths(member):
            if any(output.covers(path) or _could_be(output.path, path) for output in spec.outputs):
                continue
            if spec.rounds is not None and path == FINISHED:
                continue  # it says that the train goes home, and travels no further
            exact = "*" not in path
            yield Finding(
                level=Level.ERROR if exact else Level.WARNING,
                code="output.undeclared",
                path=member.path,
                line=line,
                text=f"uses /pht/state/{path}, which no output in train.yaml covers",
                hint="the gate of the first station refuses a train that leaves it there: declare it under 'outputs'",
            )


def _schemas(spec: TrainSpec) -> Iterator[Finding]:
    """Find schemas that the gates of stations do not evaluate: each would refuse the train."""
    for index, output in enumerate(spec.outputs):
        if output.schema is None:
            continue
        line = line_of(spec.lines, ("outputs", index))
        if output.media_type not in _WITH_SCHEMA:
            text = f"a schema for '{output.path}', which is {output.media_type}: stations check only JSON and CSV against one"
            yield _error("output.schema", text, line, "remove the schema, or declare another type")
            continue
        try:
            cost_of(output.schema)
        except InvalidInput as error:
            text = f"the schema of '{output.path}' is not one that stations evaluate: {error.fields['reason']}"
            yield _error("output.schema", text, line, "simplify it: its evaluation must be certain to end")


def _could_be(declared: str, guessed: str) -> bool:
    """Whether a path of which parts are unknown (``*``) may fall under a declaration."""
    if "*" not in guessed:
        return False
    ours, theirs = declared.split("/"), guessed.split("/")
    return len(ours) == len(theirs) and all(
        fnmatch.fnmatchcase(mine, guess) or fnmatch.fnmatchcase(guess, mine)
        for mine, guess in zip(ours, theirs, strict=True)
    )


def _command(spec: TrainSpec, tree: SourceTree) -> Iterator[Finding]:
    for name, words in spec.commands.items():
        yield from _one_command(name, words, spec, tree)


def _one_command(place: str, words: Sequence[str], spec: TrainSpec, tree: SourceTree) -> Iterator[Finding]:
    program, *rest = words
    line = line_of(spec.lines, (place,))
    name = program.rpartition("/")[2].rstrip("0123456789.")
    if name in _INTERPRETERS and rest and not rest[0].startswith("-"):
        script = _in_code(rest[0])
        if script is not None and tree.find(script) is None:
            near = did_you_mean(script, [member.path for member in tree.members])
            yield _error("command.missing", f"'{script}', which the command runs, does not travel", line, near)
        return
    own = _in_code(program) if "/" in program else None
    if own is None:
        return
    found = tree.find(own)
    if found is None:
        near = did_you_mean(own, [member.path for member in tree.members])
        yield _error("command.missing", f"'{own}', which is the command, does not travel", line, near)
    elif not found.executable:
        yield _error("command.not-executable", f"'{own}' is not executable", line, f"chmod +x {spec.code}/{own}")


def _finishes(spec: TrainSpec, tree: SourceTree) -> Iterator[Finding]:
    """Find rounds that nothing ends before the last there can be."""
    if spec.rounds is None or any(mentions(member, FINISHED) for member in tree.members):
        return
    line = line_of(spec.lines, ("combine",))
    text = f"no file of the code speaks of '{FINISHED}', so all {spec.rounds.most} rounds are gone through"
    hint = f"if a combination can tell that it is done, let it leave an empty file {FINISHED} in /pht/state"
    yield Finding(level=Level.WARNING, code="rounds.endless", path=SPEC_FILE, line=line, text=text, hint=hint)


def _sums(spec: TrainSpec) -> Iterator[Finding]:
    """Find sums over fewer stations than a station takes part in, if its operator said nothing of it."""
    taken = [index for index, output in enumerate(spec.outputs) if output.sum is not None]
    if taken and len(spec.data_at) < _USUALLY:
        line = line_of(spec.lines, ("rounds", "stations"))
        text = f"sums over {len(spec.data_at)} stations: each knows too much of the others"
        hint = f"stations take part in sums over {_USUALLY} at least, unless their operator said otherwise (least_stations)"
        yield Finding(level=Level.WARNING, code="sum.few", path=SPEC_FILE, line=line, text=text, hint=hint)


def _python(spec: TrainSpec, tree: SourceTree, target: Target, vendored: Sequence[Member] | None) -> Iterator[Finding]:
    told = set()
    for name, words in spec.commands.items():
        for gap in gaps(words, tree, target, vendored):
            finding = Finding(
                level=Level.ERROR if gap.certain else Level.WARNING,
                code=gap.code,
                path=SPEC_FILE if gap.path is None else gap.path,
                line=line_of(spec.lines, (name,)) if gap.path is None else gap.line,
                text=gap.text,
                hint=gap.hint,
                about=gap.about,
            )
            if finding not in told:
                told.add(finding)
                yield finding


def unresolved(error: WheelsUnresolved) -> Finding:
    """Return what it means for a departure that packages cannot be had."""
    path, text = f"{REQUIREMENTS}", str(error)
    return Finding(level=Level.ERROR, code=error.code, path=path, line=None, text=text, hint=error.hint)


def _placeholders(spec: TrainSpec) -> Iterator[Finding]:
    """Find words of a form that nobody filled in: what is signed is what a hospital's committee reads."""
    given = {"approval.reference": spec.approval.reference, "purpose": spec.purpose}
    for place, text in given.items():
        if _PLACEHOLDER.search(text):
            line = line_of(spec.lines, tuple(place.split(".")))
            hint = "write what the hospitals are to read, for you sign it; if that is it: --allow placeholder"
            yield _error("placeholder", f"{place} is still a placeholder: '{text[:80]}'", line, hint)


def _for_people(spec: TrainSpec) -> Iterator[Finding]:
    """Name the outputs that no gate may let go on by itself, so that at each station a person must."""
    all_but: set[str] = set()
    for index, output in enumerate(spec.outputs):
        line = line_of(spec.lines, ("outputs", index))
        if _OBJECTS.fullmatch(output.path) or "pickle" in output.media_type:
            text = f"'{output.path}' holds pickled objects, which run code when they are opened: expect stations to refuse it"
            yield _by_hand(text, line, "leave numbers as application/json, under a schema")
            all_but.add(output.path)
            continue
        for reason in reasons_to_look([output]):
            yield _by_hand(f"{reason}: {_LOOK}", line, _NARROW)
            all_but.add(output.path)
    for reason in reasons_to_look([one for one in spec.outputs if one.path not in all_but]):
        yield _by_hand(f"{reason}: {_LOOK}", line_of(spec.lines, ("outputs",)), _NARROW)


def _by_hand(text: str, line: int | None, hint: str) -> Finding:
    return Finding(level=Level.WARNING, code=BY_HAND, path=SPEC_FILE, line=line, text=text, hint=hint)


def _in_code(word: str) -> str | None:
    """Return the path below the code folder a word of the command means, or None if it lies elsewhere."""
    path = word.removeprefix("/pht/code/")
    return None if path.startswith("/") else path.removeprefix("./")


def _directory(spec: TrainSpec, trust: TrustStore, now: datetime) -> Iterator[Finding]:
    stations = [party.party for party in trust.holding(Role.STATION)]
    kinds: dict[bool, PartyId] = {}
    for index, party in enumerate(spec.route):
        try:
            kinds.setdefault(trust.current(party, Role.STATION, now).sealing.startswith("age1pq1"), party)
        except PhtError as error:
            near = None if party in stations else did_you_mean(party, stations)
            line = line_of(spec.lines, spec.place_of(index))
            yield _error(error.code, f"station '{party}': {error.message}", line, near or error.hint)
    if len(kinds) > 1:
        text = f"the code cannot be sealed for both '{kinds[True]}', whose key is hybrid, and '{kinds[False]}', whose key is not"
        yield _error(
            "seal.mixed", text, line_of(spec.lines, spec.place_of(0)[:1]), f"'{kinds[False]}' needs a new sealing key"
        )
    try:
        trust.base_named(spec.base)
    except BaseNotApproved as error:
        names = [base.name for base in trust.approved_bases()]
        line = line_of(spec.lines, ("base",))
        near = did_you_mean(spec.base, names) or ""
        there = f"approved are: {', '.join(sorted(names))}" if names else "the consortium has approved none yet"
        hint = f"{near} {there}" if near.startswith("did you mean") else there
        yield _error(error.code, f"base '{spec.base}': {error.message}", line, hint)
    if spec.valid.days > trust.policy.max_train_days:
        line = line_of(spec.lines, ("valid",))
        text = f"the directory's policy allows no more than {trust.policy.max_train_days} days"
        yield _error("train.outside-validity", text, line, None)


def _warning(code: str, path: str, text: str, hint: str | None = None) -> Finding:
    return Finding(level=Level.WARNING, code=code, path=path, line=None, text=text, hint=hint)


def _error(code: str, text: str, line: int | None, hint: str | None) -> Finding:
    return Finding(level=Level.ERROR, code=code, path="train.yaml", line=line, text=text, hint=hint)
