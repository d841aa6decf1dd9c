"""How are parties, base images, roots and directories shown to a person, and to a program?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from console.answer import Answer
from security.digest import Digest
from security.directory.publish import Published
from security.directory.root import RootState
from security.directory.trust import Base, KeySetRecord, Party, TrustStore
from security.encoding import Json, print_time
from security.keys.keyset import spell


def render_party(party: Party, *, done: str) -> Answer:
    """Render a party after a change was staged."""
    lines = [done, *(f"  {_record(record)}" for record in party.key_sets), _NEXT]
    return Answer(text="\n".join(lines), data=_party(party))


def render_base(base: Base, *, done: str) -> Answer:
    """Render a base image after a change was staged."""
    return Answer(text=f"{done}\n  {base.digest}\n{_NEXT}", data=_base(base))


def render_root(state: RootState, *, done: str) -> Answer:
    """Render the newest root."""
    lines = [
        done,
        f"  fingerprint    {spell(state.fingerprint)}",
        f"  root version   {state.version}, until {print_time(state.expires)}",
        f"  root keys      {', '.join(key[:8] for key in state.root_keys)} (any {state.threshold} of them sign)",
        *(f"  new            {path}: {_keeping(path)}" for path in state.made),
        *(f"  no longer      {name}: once this is published, destroy it and every copy" for name in state.retired),
    ]
    return Answer(text="\n".join(lines), data=_root(state))


def render_publication(published: Published, place: str, left: Mapping[str, str]) -> Answer:
    """Render what went out, and what did not: `left` is what stays staged when only the dates were renewed."""
    lines = [f"published {published.documents} documents at {place}"]
    lines += [
        f"  {role:<10} version {version}, until {print_time(published.expires[role])}"
        for role, version in published.versions.items()
    ]
    if left:
        lines += ["NOT published:", *(f"  {what:<8} {name}" for name, what in left.items())]
        lines += ["publish without --refresh makes it known"]
    first = min(published.expires.values())
    lines += [
        f"publish again before {print_time(first)} (pht directory publish --refresh renews snapshot and timestamp)"
    ]
    data: dict[str, Json] = {
        "place": place,
        "documents": published.documents,
        "files": published.files,
        "staged": dict(left),
        "versions": dict(published.versions),
        "expires": {role: print_time(moment) for role, moment in published.expires.items()},
    }
    return Answer(text="\n".join(lines), data=data)


def render_workspace(state: RootState, trust: TrustStore, staged: Mapping[str, str]) -> Answer:
    """Render the consortium's workspace; `staged` says what is not yet published, by document."""
    head = render_root(state, done="the directory, as it is staged")
    lines = [head.text, *_contents(trust)]
    lines += ["not yet published:", *(f"  {what:<8} {name}" for name, what in staged.items())] if staged else []
    data: dict[str, Json] = {"root": _root(state), "staged": dict(staged), **_trust(trust)}
    return Answer(text="\n".join(lines), data=data)


def render_trust(trust: TrustStore, place: str) -> Answer:
    """Render a verified directory as a participant sees it."""
    version = f"root {trust.version.root}, targets {trust.version.targets}"
    lines = [f"verified the directory at {place}: {version}, until {print_time(trust.expires)}", *_contents(trust)]
    data: dict[str, Json] = {
        "place": place,
        "version": {"root": trust.version.root, "targets": trust.version.targets},
        "expires": print_time(trust.expires),
        **_trust(trust),
    }
    return Answer(text="\n".join(lines), data=data)


def render_pin(fingerprint: Digest, path: str) -> Answer:
    """Render a pinned root."""
    text = f"pinned {path}\n  fingerprint  {spell(fingerprint)}"
    return Answer(text=text, data={"root": path, "fingerprint": fingerprint, "spelled": spell(fingerprint)})


_NEXT = "staged; pht directory publish makes it known"


def _contents(trust: TrustStore) -> list[str]:
    lines = ["parties:"] if trust.parties else ["parties: none yet"]
    for party in trust.parties.values():
        lines += [f"  {party.party}: {party.title} ({', '.join(sorted(party.roles))})"]
        lines += [f"    {_record(record)}" for record in party.key_sets]
    lines += ["base images:"] if trust.bases else ["base images: none yet"]
    lines += [f"  {base.name} {base.digest}{' WITHDRAWN' if base.withdrawn else ''}" for base in trust.bases.values()]
    strength = "post-quantum keys only" if trust.policy.post_quantum else "any keys"
    return [*lines, f"policy: trains valid for at most {trust.policy.max_train_days} days, {strength}"]


def _record(record: KeySetRecord) -> str:
    until = "" if record.until is None else f" until {print_time(record.until)}"
    schemes = "+".join(key.scheme.value for key in record.key_set.signing)
    revoked = "" if record.revoked is None else f" REVOKED as of {print_time(record.revoked)}"
    return f"{spell(record.key_set.fingerprint)}  {schemes}, since {print_time(record.since)}{until}{revoked}"


def _trust(trust: TrustStore) -> dict[str, Json]:
    return {
        "parties": [_party(party) for party in trust.parties.values()],
        "bases": [_base(base) for base in trust.bases.values()],
        "policy": {"maxTrainDays": trust.policy.max_train_days, "postQuantum": trust.policy.post_quantum},
    }


def _party(party: Party) -> dict[str, Json]:
    return {
        "party": party.party,
        "title": party.title,
        "roles": [role.value for role in sorted(party.roles)],
        "revoked": party.revoked,
        "keySets": [
            {
                "fingerprint": record.key_set.fingerprint,
                "since": print_time(record.since),
                "until": _moment(record.until),
                "revoked": _moment(record.revoked),
            }
            for record in party.key_sets
        ],
    }


def _base(base: Base) -> dict[str, Json]:
    return {"name": base.name, "digest": base.digest, "note": base.note, "withdrawn": base.withdrawn}


def _root(state: RootState) -> dict[str, Json]:
    return {
        "version": state.version,
        "expires": print_time(state.expires),
        "threshold": state.threshold,
        "rootKeys": list(state.root_keys),
        "fingerprint": state.fingerprint,
        "spelled": spell(state.fingerprint),
        "made": [str(path) for path in state.made],
        "retired": list(state.retired),
    }


def _keeping(path: Path) -> str:
    return "move it to its holder" if path.name.startswith("root-") else "it stays; back it up"


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else print_time(moment)
