"""Is everything in place for this station to work? Each line is ok, or says what to do. Changes nothing."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from console.progress import Working
from registry.depot import Depot, mailbox
from registry.places import registry_at
from security.clock import Clock
from security.directory.client import read_root
from security.directory.trust import TrustStore
from security.encoding import print_time
from security.errors import PhtError
from security.ids import Role
from security.keys.keyset import Secrets, spell
from security.keys.store import prove, read_folder
from station.check import CheckResult
from station.daemon.health import read_health
from station.data.port import Reader
from station.errors import DaemonBehind, KeysElsewhere
from station.house.assembly import base_loader, sandbox_of, source_of, trust_loader
from station.house.clocks import compare, past_by, told_by
from station.house.config import StationConfig
from station.house.disk import Rest, at_rest
from station.house.lock import held
from station.journal.journal import Journal
from station.sandbox.image import BaseImage
from station.sandbox.order import run_user

LEAST_DISK: Final = 2 << 30
LEAST_FRESH: Final = timedelta(days=1)
SHORTLY: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """All results, in the order in which a person would fix them."""

    results: tuple[CheckResult, ...]

    @property
    def ok(self) -> bool:
        """Whether the station can work; there may be warnings."""
        return all(one.ok for one in self.results)


def check(
    config: StationConfig,
    unlock: Callable[[], Sequence[Secrets]],
    clock: Clock,
    *,
    working: Working = nullcontext,
    rest: Callable[[Path], Rest] = at_rest,
) -> Checkup:
    """Check everything, also after a failure. `unlock` opens the keys, the present ones and earlier ones; `rest` tells where a folder's files are kept."""
    keys = _tried("keys", lambda: _keys(config, unlock))  # which may ask
    with working("checking directory, registry, engine and data"):
        return Checkup(results=(keys, *_around(config, clock, rest)))


def _around(config: StationConfig, clock: Clock, rest: Callable[[Path], Rest]) -> tuple[CheckResult, ...]:
    now = clock.now()
    results: list[CheckResult] = []
    trust: list[TrustStore] = []
    results.append(_tried("directory root", lambda: _root(config)))
    results.append(_fresh(_tried("directory", lambda: _directory(config, now, trust)), trust, now))
    results.append(_tried("party", lambda: _party(config, trust, now)))
    results.append(_tried("clock", lambda: _clock(config, trust, clock)))
    results.append(_tried("registry", lambda: _registry(config)))
    base = _base(config, trust)
    results += sandbox_of(config).doctor(base)
    results += _data(config)
    results += [_disk("state folder", config.folder), _disk("workrooms", config.workrooms)]
    results.append(_plaintext(rest(_there(config.workrooms))))
    results.append(_tried("journal", lambda: _journal(config)))
    results.append(_tried("daemon", lambda: _daemon(config)))
    results.append(_admission(config))
    return tuple(results)


def _tried(name: str, look: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult(name=name, ok=True, detail=look())
    except PhtError as error:
        return CheckResult(name=name, ok=False, detail=f"{error} [{error.code}]", hint=error.hint)


def _keys(config: StationConfig, unlock: Callable[[], Sequence[Secrets]]) -> str:
    folder = read_folder(config.keys)
    for one in unlock():
        prove(one)
    return f"of {folder.party}, {spell(folder.key_set.fingerprint)}"


def _root(config: StationConfig) -> str:
    read_root(config.directory.root_file)
    return f"pinned in {config.directory.root_file.name}"


def _directory(config: StationConfig, now: datetime, found: list[TrustStore]) -> str:
    store = trust_loader(config)(now)
    found.append(store)
    return f"version {store.version.targets}, fresh until {print_time(store.expires)}"


def _fresh(found: CheckResult, trust: list[TrustStore], now: datetime) -> CheckResult:
    """Judge for how long the directory will be good. It does not say how long it was made for; a timestamp lasts a week."""
    if not trust or trust[0].expires - now >= SHORTLY:
        return found
    left = trust[0].expires - now
    hours = max(0, int(left.total_seconds()) // 3600)
    hint = "nothing is admitted or started once it has run out: the consortium runs 'pht directory publish --refresh'"
    detail = f"{found.detail}: runs out in {hours} h"
    soon = left < LEAST_FRESH
    return CheckResult(name=found.name, ok=found.ok and not soon, warning=not soon, detail=detail, hint=hint)


def _party(config: StationConfig, trust: list[TrustStore], now: datetime) -> str:
    ours = read_folder(config.keys).key_set.fingerprint
    if not trust:
        return "not checked: there is no directory"
    trust[0].pinned(config.party, Role.STATION, ours, now)
    newest = trust[0].current(config.party, Role.STATION, now).fingerprint
    if newest != ours:
        msg = "the directory has newer keys for this station, and new trains are made for those"
        raise KeysElsewhere(msg, newest=newest.short, ours=ours.short)
    return f"{config.party} is in the directory with these keys"


def _clock(config: StationConfig, trust: list[TrustStore], clock: Clock) -> str:
    """Compare the clock with the registry's, with times that are certainly past, and with the directory's expiry.

    Raises:
        ClockWrong: a time that must be past lies in the future, or the registry's clock shows another time.
    """
    known = {"the journal's newest record was written": _newest_record(config)}
    past = {what: when for what, when in known.items() if when is not None}
    past |= past_by(trust[0]) if trust else {}
    registry = told_by(registry_at(config.registry, config.login))
    now = clock.now()  # after the registry has answered, which may take a while
    compare(now, registry=registry, past=past)
    told = [f"after {print_time(when)}, when {what}" for what, when in past.items()]
    told += [f"before {print_time(trust[0].expires)}, when the directory expires"] if trust else []
    known_to_be = f"known to be {' and '.join(told)}" if told else "not compared"
    same = "the registry does not tell the time" if registry is None else "the registry's clock shows the same"
    return f"{print_time(now)}; {same}; {known_to_be}"


def _newest_record(config: StationConfig) -> datetime | None:
    if not config.journal.exists():
        return None
    with Journal.open(config.journal) as journal:
        return journal.newest()


def _registry(config: StationConfig) -> str:
    registry = registry_at(config.registry, config.login)
    waiting = Depot(registry).arrivals(config.party)
    return f"{config.registry}: {mailbox(config.party)} can be read, {len(waiting)} waiting"


def _base(config: StationConfig, trust: list[TrustStore]) -> BaseImage | None:
    """Return a base image to try the sandbox with: the first approved one that can be had."""
    for base in trust[0].approved_bases() if trust else ():
        try:
            return base_loader(registry_at(config.registry, config.login))(base)
        except PhtError:
            continue
    return None


def _data(config: StationConfig) -> Iterator[CheckResult]:
    if not config.data:
        yield CheckResult(
            name="data", ok=False, detail="no data set", hint=f"add one under 'data' in {config.file.name}"
        )
    uid, gid = run_user(os.geteuid(), os.getegid())
    for name, one in config.data.items():
        yield from source_of(name, one, config).check(Reader(uid=uid, gid=gid))


def _disk(name: str, folder: Path) -> CheckResult:
    place = _there(folder)
    free = shutil.disk_usage(place).free
    writable = os.access(place, os.W_OK)
    hint = None
    if not place.is_dir():
        hint = f"{place} is a file: name a folder in station.yaml"
    elif not writable and place == folder:
        hint = f"this user must own {place}"
    elif not writable:
        hint = f"make it: sudo install -d -m 700 -o {os.geteuid()} {shlex.quote(str(folder))}"
        if folder.is_relative_to("/run"):
            hint += "; or start the daemon with the unit of 'pht station unit', which makes it each time"
    elif free < LEAST_DISK:
        hint = "free some space, or use another folder"
    return CheckResult(name=name, ok=hint is None, detail=f"{folder}, {free >> 20} MiB free", hint=hint)


def _there(folder: Path) -> Path:
    """Return the folder, or the one that it would be made in."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _plaintext(rest: Rest) -> CheckResult:
    """Warn, and do not judge: a disk may be encrypted in a way that cannot be seen from here."""
    hint = (
        "after a theft or a power cut patients' data can be read there: mount a tmpfs or an encrypted disk, and name it as"
        " 'workrooms' in station.yaml; or make sure that this disk is encrypted below what can be seen from here"
    )
    plain = rest is Rest.PLAIN
    return CheckResult(
        name="plaintext", ok=True, warning=plain, detail=f"workrooms are {rest.value}", hint=hint if plain else None
    )


def _journal(config: StationConfig) -> str:
    if not config.journal.exists():
        return "none yet; the daemon begins it"
    with Journal.open(config.journal) as journal:
        head = journal.check()
        waiting = sum(visit.held is not None for visit in journal.going_on())
    return f"{head.sequence} records, chain unbroken, {waiting} waiting for a person"


def _daemon(config: StationConfig) -> str:
    if not held(config.folder):
        return "none runs here now"
    health = read_health(config.health)
    if health.settings != config.digest:
        msg = "the daemon was started with a different station.yaml"
        raise DaemonBehind(msg, process=health.process)
    trouble = f"; in the way: {', '.join(health.trouble)}" if health.trouble else ""
    return f"process {health.process}, last turn {print_time(health.turn)}{trouble}"


def _admission(config: StationConfig) -> CheckResult:
    owners = ", ".join(sorted(config.admission.owners))
    hint = f"name owners under 'admission' in {config.file.name}"
    leaves = "by-hand" if config.release_by_hand else ", ".join(["small-json", *sorted(config.release_types)])
    detail = (
        f"{config.admission.approve.value}, owners {owners}; release {leaves}" if owners else "no owner is admitted"
    )
    return CheckResult(name="admission", ok=bool(owners), detail=detail, hint=None if owners else hint)
