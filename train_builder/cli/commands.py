"""What can a scientist do from the command line?

Each command parses, calls one function and returns an `Answer`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from console.answer import Answer
from console.progress import showing, working
from console.prompts import clock, confirmed_root, passphrase_option, unlocked
from console.root import Root
from registry.places import anchored, registry_at, source_at
from security.digest import digest_of
from security.directory.trust import TrustStore
from security.encoding import Json, print_time
from security.errors import Unavailable
from security.files import read_file
from security.ids import PartyId, TrainId
from security.keys.keyset import Secrets, spell
from security.keys.store import read_folder
from security.statement.envelope import MAX_ENVELOPE, parse_envelope
from train_builder.build.submit import submit
from train_builder.cli.check import allow_option, check, init, stations, target_options
from train_builder.cli.home import depot_of, home_option, trust_of
from train_builder.code.check import finding_document
from train_builder.code.wheels import Target
from train_builder.errors import HomeInvalid
from train_builder.follow.collect import HomeTrain, bring_home, open_home_train
from train_builder.follow.follow import Progress, describe, follow, progress_document
from train_builder.follow.inspect import describe_inspection, inspect_envelope, inspection_document
from train_builder.home import Home, Settings, make_home, open_home
from train_builder.proof.export import export_journey
from train_builder.proof.proof import describe_proof, proof_document, prove
from train_builder.spec.units import show_size

F = TypeVar("F", bound=Callable[..., object])

_PATH: Final = click.Path(path_type=Path)
_ID_CHARACTERS: Final = 64


@click.group()
def train() -> None:
    """Build a train, send it, follow it, and open what it brings home.

    \b
    pht train setup ~/.pht --party alice --registry https://registry.example.org --root root.json
    pht keys new ~/.pht/keys --party alice --role owner
    pht train stations                              where a train can go
    pht train init my-train --route hospital-a,hospital-b
    pht train check my-train
    pht train submit my-train
    pht train follow --watch
    pht train open latest results
    pht train verify latest --export journey        files and commands for a check without this software
    """


@train.command("setup")
@click.argument("home_path", metavar="HOME", type=_PATH)
@click.option("--party", required=True, metavar="NAME", help="Your short name in the directory.")
@click.option("--registry", "address", required=True, metavar="ADDRESS", help="https://host/prefix or layout:/folder.")
@click.option("--directory", "place", metavar="PLACE", help="Where the directory is published, if not there.")
@click.option("--root", "root_file", type=_PATH, help="The root.json the consortium handed you.")
@click.option("--root-fingerprint", help="Or its fingerprint, as the consortium reads it out; the file is fetched.")
@click.pass_obj
def train_setup(
    context: Root,
    *,
    home_path: Path,
    party: str,
    address: str,
    place: str | None,
    root_file: Path | None,
    root_fingerprint: str | None,
) -> Answer:
    """Set up HOME: who you are, where registry and directory are, and which root you trust.

    Options of 'pht' itself (--registry-user and so on) are remembered. Your keys belong into HOME/keys:

    \b
    pht keys new ~/.pht/keys --party alice --role owner
    """
    login = context.login()
    here = Path.cwd()
    settings = Settings(
        party=PartyId(party),
        registry=anchored(address, here),
        login=login,
        directory=anchored(place or address, here),
    )
    registry_at(settings.registry, login)  # so that nothing is remembered that could not be used
    source_at(settings.directory, login)
    if (home_path / "keys").is_dir() and read_folder(home_path / "keys").party != settings.party:
        msg = "the keys in the home folder belong to another party"
        raise HomeInvalid(msg, path=home_path / "keys", hint="choose another folder")
    root = confirmed_root(
        root_file,
        lambda: source_at(settings.directory, settings.login),
        root_fingerprint,
        option="--root-fingerprint",
    )
    home = make_home(home_path, settings, root)
    lines = [f"{home.party} at {home.settings.registry}", f"  root  {spell(digest_of(root))}"]
    if not home.keys.is_dir():
        lines.append(f"next: pht keys new {home.keys} --party {home.party} --role owner")
    else:
        lines.append(f"next: pht keys card {home.keys} -o {home.party}.card.json, for the consortium, if it has none")
    lines.append("then: pht train stations, pht train init my-train")
    data: dict[str, Json] = {"home": str(home.path), "party": str(home.party), "root": str(digest_of(root))}
    return Answer(text="\n".join(lines), data=data)


@train.command("submit")
@click.argument("folder", type=_PATH)
@home_option
@allow_option
@target_options
@passphrase_option
def train_submit(
    *,
    folder: Path,
    home_path: Path,
    allow: tuple[str, ...],
    python_version: str,
    machine: str,
    passphrase_file: Path | None,
) -> Answer:
    """Check, sign and seal the train in FOLDER and send it to its first station.

    Run again after a failure, it sends the train it had made, not a second one. A requirements.txt in the code folder is
    resolved to wheels, which travel in vendor/ of the code.
    """
    home = open_home(home_path)

    def unlock() -> Secrets:
        return unlocked(home.keys, str(home.keys), passphrase_file)

    with showing("sending") as carried:
        sent = submit(
            folder,
            home,
            depot=depot_of(home),
            trust=trust_of(home),
            unlock=unlock,
            now=clock.now(),
            allow=allow,
            target=Target(python=python_version, machine=machine),
            progress=carried,
            working=working,
        )
    manifest = sent.record.manifest
    lines = [
        f"{manifest.name} is on its way to {sent.first}" + (" (as made by an earlier attempt)" if sent.resumed else ""),
        f"  train  {sent.record.train}",
        f"  route  {' -> '.join(stop.party for stop in manifest.route.stops)} -> {home.party}",
        f"  until  {print_time(manifest.valid_until)}",
        *(f"  {wheel.file}" for wheel in sent.wheels),
        *map(str, sent.findings),
        *([] if sent.twin is None else [f"note: the same train is under way as {sent.twin.short}"]),
        f"next: pht train follow {sent.record.train.short}",
    ]
    data: dict[str, Json] = {
        "train": str(sent.record.train),
        "name": manifest.name,
        "to": str(sent.first),
        "resumed": sent.resumed,
        "twin": None if sent.twin is None else str(sent.twin),
        "code": str(manifest.code.digest),
        "base": str(manifest.base),
        "wheels": [{"file": wheel.file, "digest": str(wheel.digest)} for wheel in sent.wheels],
        "findings": [finding_document(finding) for finding in sent.findings],
    }
    return Answer(text="\n".join(lines), data=data)


@train.command("follow")
@click.argument("name", metavar="[TRAIN]", default="latest")
@home_option
@click.option("--watch", is_flag=True, help="Wait until the train has ended its journey.")
@click.option(
    "--every", type=click.FloatRange(0.2, 3600), default=5.0, show_default=True, help="Seconds between looks."
)
@click.pass_obj
def train_follow(root: Root, *, name: str, home_path: Path, watch: bool, every: float) -> Answer:
    """Tell where TRAIN is (the beginning of its id, or 'latest'), from the receipts stations have signed."""
    home = open_home(home_path)
    record, depot = home.find(name), depot_of(home)
    seen: Progress | None = None
    heard = sys.stderr.isatty() or not root.as_json  # a program is told at the end
    while True:
        try:
            found = follow(record, depot, trust_of(home), now=clock.now())
            home.note_seen(found.train, found.learnt)
        except Unavailable as error:
            if not watch:
                raise
            if heard:
                click.echo(f"waiting: {error}", err=True)
        else:
            if not watch or found.ended or found.stranded(clock.now()):
                return Answer(text=describe(found, now=clock.now()), data=progress_document(found))
            if heard and found != seen:
                click.echo(describe(found, now=clock.now()), err=True)
                seen = found
        clock.wait(every)


@train.command("open")
@click.argument("name", metavar="TRAIN")
@click.argument("out", type=_PATH)
@home_option
@passphrase_option
def train_open(*, name: str, out: Path, home_path: Path, passphrase_file: Path | None) -> Answer:
    """Verify the whole journey of TRAIN and open its results into the new folder OUT.

    The proof of the journey goes beside it, into OUT.journey.json.
    """
    home = open_home(home_path)
    found, trust = _bring(home, name)
    keys = home.keys_of(found.accepted.manifest.value.owner.key_set)
    secrets = unlocked(keys, str(keys), passphrase_file)
    with working("opening the results"):
        opened = open_home_train(found, home, secrets=secrets, trust=trust, into=out)
    lines = [
        f"{found.accepted.manifest.value.name} ({opened.train.short}): {len(opened.files)} files, {show_size(opened.size)}",
        *(f"  {opened.folder / path}" for path in opened.files),
        f"  {opened.journey}  proves where they come from",
    ]
    data: dict[str, Json] = {
        "train": str(opened.train),
        "folder": str(opened.folder),
        "files": list(opened.files),
        "journey": str(opened.journey),
    }
    return Answer(text="\n".join(lines), data=data)


@train.command("verify")
@click.argument("name", metavar="TRAIN")
@home_option
@click.option("--export", "into", type=_PATH, help="Write files and commands for a check without this software.")
def train_verify(*, name: str, home_path: Path, into: Path | None) -> Answer:
    """Verify the whole journey of TRAIN and tell it step by step. Needs no passphrase."""
    home = open_home(home_path)
    found, trust = _bring(home, name)
    proof = prove(found.accepted, trust)
    text, data = describe_proof(proof), proof_document(proof)
    if into is not None:
        files = export_journey(proof, found.parts, home.blobs, into)
        text += f"\nwrote {into}: {len(files)} files; run {into / 'verify.sh'}, or read {into / 'README.txt'}"
        data["export"] = str(into)
    return Answer(text=text, data=data)


@train.command("inspect")
@click.argument("name", metavar="TRAIN|FILE")
@home_option
def train_inspect(*, name: str, home_path: Path) -> Answer:
    """Tell what a train is: one of yours, or the manifest.json of any train. Says whether it is to be believed."""
    home, path = open_home(home_path), Path(name)
    given = path.is_file()
    envelope = parse_envelope(read_file(path, limit=MAX_ENVELOPE)) if given else home.find(name).envelope
    inspection = inspect_envelope(envelope, trust_of(home))
    return Answer(text=describe_inspection(inspection), data=inspection_document(inspection))


@train.command("ls")
@home_option
def train_ls(*, home_path: Path) -> Answer:
    """List the trains made here, the oldest first, with what 'pht train follow' learnt last. Asks nobody."""
    home = open_home(home_path)
    lines: list[str] = []
    found: list[Json] = []
    records = home.records()
    states = [home.state_of(record) for record in records]
    width = max((len(state) for state in states), default=0)
    for record, state in zip(records, states, strict=True):
        lines.append(f"{record.train.short}  {print_time(record.recorded)}  {state:<{width}}  {record.manifest.name}")
        found.append({"train": str(record.train), "name": record.manifest.name, "state": state})
    if lines:
        lines.insert(0, f"{'train':<12}  {'made':<20}  {'state':<{width}}  name")
    return Answer(
        text="\n".join(lines) if lines else "no trains yet; 'pht train submit' sends one", data={"trains": found}
    )


for command in (stations, init, check):
    train.add_command(command)


def _bring(home: Home, name: str) -> tuple[HomeTrain, TrustStore]:
    whole = TrainId(name) if len(name) == _ID_CHARACTERS else home.find(name).train
    trust = trust_of(home)
    with showing("fetching") as carried:
        found = bring_home(whole, home, depot=depot_of(home), trust=trust, now=clock.now(), progress=carried)
    return found, trust
