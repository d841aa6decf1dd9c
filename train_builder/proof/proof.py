"""What does a journey prove, in words and in files that others can check?

`prove` numbers what was verified: who, in which order, with which keys, over which code and base. The files for a check
without this software are written by `train_builder.proof.export`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from security.digest import Digest
from security.directory.trust import DirectoryVersion, TrustStore
from security.encoding import Json, print_time
from security.forms.words import printable
from security.ids import PartyId, Role, TrainId
from security.keys.keyset import KeySet, spell
from security.train.route import Task, counted
from security.train.verify import AcceptedTrain


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A party that signed, with the key set its signatures were verified against."""

    party: PartyId
    title: str
    key_set: KeySet


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedStop:
    """A stop that was passed, as its station signed it. `finished` if it said that the train goes home from there."""

    stop: int
    task: Task
    round: int
    witness: Witness
    at: datetime
    attempt: int
    sandbox: str
    directory: DirectoryVersion
    states_in: tuple[Digest, ...]
    state_out: Digest
    entry: Digest
    previous: tuple[Digest, ...]
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A complete journey that was verified, and the directory it was verified against."""

    train: TrainId
    name: str
    purpose: str
    owner: Witness
    manifest: Digest
    code: Digest
    base: Digest
    base_name: str
    steps: tuple[PassedStop, ...]
    directory: DirectoryVersion
    directory_expires: datetime


def prove(accepted: AcceptedTrain, trust: TrustStore) -> Proof:
    """Say what `verify_home` verified."""
    manifest = accepted.manifest.value
    steps = []
    for entry in accepted.journey.entries:
        claim = entry.value
        steps.append(
            PassedStop(
                stop=claim.stop,
                task=manifest.route.task(claim.stop),
                round=manifest.route.round(claim.stop),
                witness=_witness(trust, claim.station, Role.STATION, entry.by, claim.time),
                at=claim.time,
                attempt=claim.attempt,
                sandbox=claim.sandbox,
                directory=claim.directory,
                states_in=claim.states_in,
                state_out=claim.state_out,
                entry=entry.digest,
                previous=claim.previous,
                finished=bool(claim.finished),
            )
        )
    return Proof(
        train=accepted.train,
        name=manifest.name,
        purpose=manifest.purpose,
        owner=_witness(trust, manifest.owner.party, Role.OWNER, accepted.manifest.by, manifest.valid_from),
        manifest=accepted.manifest.digest,
        code=manifest.code.digest,
        base=manifest.base,
        base_name=trust.bases[manifest.base].name,
        steps=tuple(steps),
        directory=trust.version,
        directory_expires=trust.expires,
    )


def describe_proof(proof: Proof) -> str:
    """Put a proof into numbered sentences, for a terminal and for a file that will be read on one."""
    lines = [
        f"{proof.name} ({proof.train.short}): the journey is complete and every step of it is proven",
        f"  0. {_signed(proof.owner)} the manifest, which is the train",
        f"       code {proof.code} (sealed)",
        f"       base {proof.base} ({proof.base_name})",
    ]
    lines += _boarding([step for step in proof.steps if step.task in {Task.BOARD, Task.DEPART}])
    for number, step in enumerate((step for step in proof.steps if step.task is Task.RUN), start=1):
        received = f"state {_shortly(step.states_in)}" if step.states_in else "no state"
        lines += [
            f"  {number}. {_signed(step.witness)} at {print_time(step.at)}",
            f"       received {received}, sent state {step.state_out.short}",
            f"       sandbox {step.sandbox}, attempt {step.attempt}, directory version {step.directory.targets}",
            f"       hangs on {_shortly(step.previous)}, is {step.entry.short}",
        ]
    lines += map(_combined, (step for step in proof.steps if step.task is Task.COMBINE))
    last, version = proof.steps[-1].state_out, proof.directory
    lines += [
        f"  home: state {last.short} is sealed for {proof.owner.party} alone",
        f"verified against directory version {version.targets} (root version {version.root}),",
        f"  which is good until {print_time(proof.directory_expires)}",
    ]
    return "\n".join(map(printable, lines))


def _boarding(steps: Sequence[PassedStop]) -> Iterator[str]:
    """Tell of boarding and departure in a line each: every station signs again for what it does later."""
    boarded = [step for step in steps if step.task is Task.BOARD]
    if boarded:
        names = ", ".join(step.witness.party for step in boarded)
        yield f"  {len(boarded)} boarded until {print_time(max(step.at for step in boarded))}: {names}"
    for step in steps:
        if step.task is Task.DEPART:
            yield f"  departed at {print_time(step.at)}: {_signed(step.witness)} with all of their passes"


def _combined(step: PassedStop) -> str:
    """Tell of a round in a line: its combination names all that went into it."""
    finished = ", and says that the train has finished" if step.finished else ""
    contributions = f"{len(step.previous)} contribution" + ("s" if len(step.previous) != 1 else "")
    told = f"{contributions}, combined by {step.witness.party} at {print_time(step.at)}"
    return f"  round {counted(step.round)}: {told}, is {step.entry.short}{finished}"


def proof_document(proof: Proof) -> dict[str, Json]:
    """Return the proof as JSON: what is kept beside opened results."""
    return {
        "type": "pht-journey-proof-v1",
        "train": str(proof.train),
        "name": proof.name,
        "purpose": proof.purpose,
        "owner": _printed(proof.owner),
        "manifest": str(proof.manifest),
        "code": str(proof.code),
        "base": {"name": proof.base_name, "digest": str(proof.base)},
        "stops": [
            {
                "stop": step.stop,
                "task": step.task.value,
                "round": step.round if step.task.in_rounds else None,
                "station": _printed(step.witness),
                "time": print_time(step.at),
                "attempt": step.attempt,
                "sandbox": step.sandbox,
                "directory": {"root": step.directory.root, "targets": step.directory.targets},
                "statesIn": [str(one) for one in step.states_in],
                "stateOut": str(step.state_out),
                "previous": [str(one) for one in step.previous],
                "entry": str(step.entry),
                "finished": step.finished,
            }
            for step in proof.steps
        ],
        "directory": {
            "root": proof.directory.root,
            "targets": proof.directory.targets,
            "expires": print_time(proof.directory_expires),
        },
    }


def _shortly(digests: tuple[Digest, ...]) -> str:
    return " and ".join(one.short for one in digests)


def _witness(trust: TrustStore, party: PartyId, role: Role, fingerprint: Digest, at: datetime) -> Witness:
    key_set = trust.signer(party, role, fingerprint, at)
    return Witness(party=party, title=trust.parties[party].title, key_set=key_set)


def _signed(witness: Witness) -> str:
    schemes = ", ".join(key.scheme.value for key in witness.key_set.signing)
    return f"{witness.party} signed ({schemes}; key set {spell(witness.key_set.fingerprint)[:19]})"


def _printed(witness: Witness) -> Json:
    keys: list[Json] = [{"keyid": str(key.key_id), "scheme": key.scheme.value} for key in witness.key_set.signing]
    return {"party": str(witness.party), "keySet": str(witness.key_set.fingerprint), "keys": keys}
