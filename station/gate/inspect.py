"""May what a run left behind leave the house?

Only what the signed manifest declared may, and only if every rule of the house agrees (attack T18). The gate looks and
decides; it changes nothing.

Its errors name the rule and the declared path pattern, never a path, a value or a byte the run produced: those are
plaintext, and errors end up in journals and logs (attack T20).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from security.archive import Member, members_of
from security.errors import ArchiveRejected, BudgetExceeded, FileMissing
from security.train.manifest import TrainManifest
from station.errors import GateType, GateUndeclared
from station.gate.port import GateRule, Left, LeftFile, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredFile:
    """A file that may leave, and the path pattern of the declaration that covers it."""

    member: Member
    declared: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What leaves if the verdict lets it. Made by `inspect` only."""

    files: tuple[DeclaredFile, ...]
    verdict: Verdict


def inspect(printed: Path, manifest: TrainManifest, rule: GateRule) -> Inspected:
    """Examine what was printed of the state of a run that has ended.

    Raises:
        GateRefused: one of its kinds: the first rule that is broken.
        NoResults: there is nothing to send on.
    """
    try:
        left = left_in(list_state(printed), manifest)
        verdict = rule.judge(left)
    except FileMissing:
        raise _unreadable() from None  # the cause names a path, and the run chose that
    return Inspected(files=_declared(left), verdict=verdict)


def declared_in(printed: Path, manifest: TrainManifest) -> tuple[DeclaredFile, ...]:
    """Return the files in a folder, each with its declaration, whatever the rules of a house say of them.

    Raises:
        GateUndeclared: there is a file that matches none.
        GateType: see `list_state`.
    """
    try:
        return _declared(left_in(list_state(printed), manifest))
    except FileMissing:
        raise _unreadable() from None


def list_state(state: Path) -> tuple[Member, ...]:
    """Return the plain files below the state folder, without following any link.

    Raises:
        GateType: there is something other than plain files and folders, or a name that cannot travel.
    """
    try:
        return members_of(state)
    except (ArchiveRejected, BudgetExceeded):
        msg = "the state contains something other than plain files with plain names"
        raise GateType(msg) from None  # the cause names paths, and the run chose those


def left_in(members: tuple[Member, ...], manifest: TrainManifest) -> Left:
    """Hold a listing against the declarations: the first that covers a file counts."""
    return Left(
        manifest=manifest,
        files=tuple(
            LeftFile(
                member=one, declared=next((output for output in manifest.outputs if output.covers(one.path)), None)
            )
            for one in members
        ),
    )


def _declared(left: Left) -> tuple[DeclaredFile, ...]:
    files = tuple(
        DeclaredFile(member=one.member, declared=one.declared.path) for one in left.files if one.declared is not None
    )
    if len(files) != len(left.files):
        msg = "files in the state match no declared output"
        raise GateUndeclared(msg, files=len(left.files) - len(files))
    return files


def _unreadable() -> GateType:
    msg = "the station cannot read something in the state"
    return GateType(msg)
