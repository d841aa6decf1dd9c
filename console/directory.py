"""What can the consortium, and those who begin to trust it, do with the directory from the command line?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import click

from console.answer import Answer
from console.participant import directory_pin, directory_verify, fingerprint_option
from console.passphrases import one_option, online_option, online_phrase, per_key
from console.progress import working
from console.prompts import (
    card_at,
    clock,
    confirmed,
    new_passphrase_for,
    passphrase_for,
    passphrase_option,
    sure,
)
from console.render_directory import (
    render_base,
    render_party,
    render_publication,
    render_root,
    render_workspace,
)
from console.root import Root
from console.unit import directory_unit
from registry.places import sink_at
from security.digest import Digest
from security.directory.card import PartyCard
from security.directory.publish import publish, unpublished
from security.directory.root import (
    Lifetimes,
    RootChange,
    check_threshold,
    init_workspace,
    open_online_key,
    open_root_key,
    open_targets_key,
    root_state,
    rotate_keys,
)
from security.directory.trust import Policy
from security.directory.workspace import (
    Workspace,
    add_party,
    approve_base,
    revocable,
    revoke,
    rotate_party,
    was_withdrawn,
    withdraw_base,
)
from security.encoding import parse_time, print_time
from security.errors import InvalidInput, Malformed
from security.files import expect_new
from security.ids import PartyId
from security.keys.store import read_passphrase

F = TypeVar("F", bound=Callable[..., object])

_PATH: Final = click.Path(path_type=Path)
_DAYS: Final = click.IntRange(1, 3650)
_RENEWED: Final = click.IntRange(2, 3650)
"""For what a timer renews daily: stations call less than a day too little."""


@click.group()
def directory() -> None:
    """Run the consortium's directory of parties, base images and revocations.

    \b
    pht directory init consortium --root-keys 3 --threshold 2
    pht directory add consortium hospital-a.card.json        asks for the fingerprint
    pht directory approve-base consortium python-3.11 sha256:…
    pht directory publish consortium --to http://registry.example:5000

    Changes are staged in the workspace and take effect with 'publish'. A participant starts from the first root:

    \b
    pht directory pin http://registry.example:5000 --fingerprint "…" -o root.json
    """


def _workspace(function: F) -> F:
    return click.argument("workspace", metavar="FOLDER", type=_PATH)(function)


@directory.command("init")
@click.argument("folder", type=_PATH)
@click.option("--root-keys", type=click.IntRange(1, 16), default=3, show_default=True, help="How many root keys.")
@click.option("--threshold", type=click.IntRange(1, 16), default=2, show_default=True, help="How many must sign.")
@click.option("--root-passphrase-file", "root_files", type=_PATH, multiple=True, help="One per root key, in order.")
@online_option
@one_option
@click.option("--max-train-days", type=_DAYS, default=90, show_default=True, help="Longest validity of a train.")
@click.option("--post-quantum", is_flag=True, help="Accept only key sets with ML-DSA-65 and a hybrid recipient.")
@click.option("--root-days", type=_DAYS, default=365, show_default=True, help="Validity of the root.")
@passphrase_option
def directory_init(
    *,
    folder: Path,
    root_keys: int,
    threshold: int,
    root_files: tuple[Path, ...],
    online_passphrase_file: Path | None,
    one_passphrase: bool,
    max_train_days: int,
    post_quantum: bool,
    root_days: int,
    passphrase_file: Path | None,
) -> Answer:
    """Make the consortium's workspace.

    It holds the keys, the first root, and an empty directory. Root and targets keys are for people; the online key renews
    the timestamp from a timer, whose machine knows its passphrase. So that one is the online key's own.

    Afterwards move FOLDER/root-keys/*.age to their holders, each to another one, and back up the rest.
    """
    expect_new(folder)
    check_threshold(threshold, root_keys)
    own = new_passphrase_for("the root keys and the targets key", passphrase_file)
    roots = per_key(root_files, root_keys) or [own] * root_keys
    online = online_phrase(online_passphrase_file, [own, *roots], one=one_passphrase)
    with working("making the keys"):
        workspace = init_workspace(
            folder,
            root_passphrases=roots,
            threshold=threshold,
            targets_passphrase=own,
            online_passphrase=online,
            policy=Policy(max_train_days=max_train_days, post_quantum=post_quantum),
            lifetimes=Lifetimes(root=timedelta(days=root_days)),
            now=clock.now(),
        )
    done = f"made {folder}; move {workspace.root_keys}/*.age to their holders\ntell every participant how to pin it:"
    return render_root(root_state(workspace), done=done)


@directory.command("add")
@_workspace
@click.argument("card", type=_PATH)
@fingerprint_option
def directory_add(card: Path, workspace: Path, fingerprint: str | None) -> Answer:
    """Stage a new party.

    The party is that of CARD, once its fingerprint was compared with what they read out over the phone.
    """
    ours, shown = _workspace_and_card(workspace, card, "add")
    confirmed(shown.key_set.fingerprint, fingerprint, who=shown.party)
    party = add_party(ours, shown, now=clock.now())
    return render_party(party, done=f"{party.party}: {party.title} ({', '.join(sorted(party.roles))})")


@directory.command("rotate")
@_workspace
@click.argument("card", type=_PATH)
@click.option(
    "--overlap", type=click.IntRange(0, 3650), default=14, show_default=True, help="Days the old keys stay valid."
)
@fingerprint_option
def directory_rotate(card: Path, overlap: int, workspace: Path, fingerprint: str | None) -> Answer:
    """Stage new keys of a party.

    CARD is its new card. The old keys stay valid for the overlap, so that trains under way can finish: a station names
    their folder under keys.earlier in its station.yaml, an owner leaves it in the home folder, beside the new one. If
    they were stolen, revoke them as well.
    """
    ours, shown = _workspace_and_card(workspace, card, "rotate")
    confirmed(shown.key_set.fingerprint, fingerprint, who=shown.party)
    party = rotate_party(ours, shown, overlap=timedelta(days=overlap), now=clock.now())
    return render_party(party, done=f"{party.party} has new keys")


@directory.command("revoke")
@_workspace
@click.argument("party")
@click.option("--key-set", help="Fingerprint of the key set to revoke. Without it: the whole party.")
@click.option("--since", "text", metavar="TIME", help="When the keys may first have been in wrong hands. Default: now.")
@click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")
def directory_revoke(party: str, key_set: str | None, text: str | None, yes: bool, workspace: Path) -> Answer:
    """Stage the revocation of a party, or of a key set.

    What PARTY signed with these keys before TIME (2026-01-31, or 2026-01-31T12:00:00Z) still counts, so that journeys
    that ended before can be opened. Nothing later does, and no station runs or seals anything for these keys.

    Whoever stole keys can date what they sign. If keys were stolen, let TIME be when they were certainly still safe: the
    last time that somebody saw the machine, the medium or the backup where it belongs. The default, now, is for a party
    that leaves with its keys in its own hands.
    """
    ours, name, now = Workspace(workspace), PartyId(party), clock.now()
    since = now if text is None else _moment(text)
    count = len(revocable(ours, name, key_set))
    what = str(name) if key_set is None else f"{count} of the key sets of {name}"
    sure(f"Revoke {what} as of {print_time(since)}? What these keys signed from then on counts no more.", yes=yes)
    changed = revoke(ours, name, key_set, since=since, now=now)
    return render_party(changed, done=f"{name}: revoked")


@directory.command("approve-base")
@_workspace
@click.argument("name")
@click.argument("digest")
@click.option("--note", default="", help="One line for people, such as where it was built.")
@click.option("--yes", is_flag=True, help="Do not ask before approving an image that was withdrawn.")
def directory_approve_base(name: str, digest: str, note: str, yes: bool, workspace: Path) -> Answer:
    """Stage the approval of a base image.

    NAME is what trains call it, DIGEST what 'pht registry base push' printed: sha256:…, or base/NAME@sha256:…
    """
    ours, image = Workspace(workspace), _digest(digest, name)
    if was_withdrawn(ours, name, image):
        sure(f"The approval of {name} was withdrawn. Approve this very image again?", yes=yes)
    base = approve_base(ours, name, image, note=note)
    return render_base(base, done=f"{base.name}: approved")


@directory.command("withdraw-base")
@_workspace
@click.argument("name")
def directory_withdraw_base(name: str, workspace: Path) -> Answer:
    """Stage the withdrawal of a base image.

    No station runs a train on the image called NAME any more.
    """
    base = withdraw_base(Workspace(workspace), name)
    return render_base(base, done=f"{base.name}: withdrawn")


@directory.command("rotate-keys")
@_workspace
@click.option("--root-key", "root_keys", type=_PATH, multiple=True, required=True, help="Root key file; repeatable.")
@click.option("--root-passphrase-file", "root_files", type=_PATH, multiple=True, help="One per root key, in order.")
@click.option("--replace", type=click.Choice(["targets", "online"]), multiple=True, help="Key to replace; repeatable.")
@click.option("--add-root-keys", type=click.IntRange(0, 16), default=0, help="How many root keys to make.")
@click.option("--drop-root-key", "drop", multiple=True, help="Root key to drop: its first eight digits; repeatable.")
@click.option("--threshold", type=click.IntRange(1, 16), help="New number of root keys that must sign.")
@click.option("--root-days", type=_DAYS, default=365, show_default=True, help="Validity of the new root.")
@online_option
@one_option
@passphrase_option
def directory_rotate_keys(
    *,
    workspace: Path,
    root_keys: tuple[Path, ...],
    root_files: tuple[Path, ...],
    replace: tuple[str, ...],
    add_root_keys: int,
    drop: tuple[str, ...],
    threshold: int | None,
    root_days: int,
    online_passphrase_file: Path | None,
    one_passphrase: bool,
    passphrase_file: Path | None,
) -> Answer:
    """Make the next root.

    With other keys, another threshold, or the same ones for another year.

    The thresholds of both the present and the new root must be met by the keys that sign. Then publish.

    \b
    pht directory rotate-keys consortium --root-key /media/a/root-1f.age --root-key /media/b/root-7c.age --replace online
    """
    ours = Workspace(workspace)
    own = None if passphrase_file is None else read_passphrase(passphrase_file)
    phrases = per_key(root_files, len(root_keys)) or [own or passphrase_for(str(path), None) for path in root_keys]
    with working("opening the root keys"):
        signers = [open_root_key(path, phrase) for path, phrase in zip(root_keys, phrases, strict=True)]
    change = RootChange(
        replace_targets="targets" in replace,
        replace_online="online" in replace,
        add_root_keys=add_root_keys,
        drop_root_keys=drop,
        threshold=threshold,
    )
    others = change.replace_targets or bool(add_root_keys)
    new = new_passphrase_for("the new root or targets keys", passphrase_file) if others else None
    online = None
    if change.replace_online:
        known = [phrase for phrase in (own, new, *phrases) if phrase is not None]
        online = online_phrase(
            online_passphrase_file or (passphrase_file if one_passphrase else None), known, one=one_passphrase
        )
    with working("making the next root"):
        state = rotate_keys(
            ours,
            signers,
            change,
            passphrase=new,
            online_passphrase=online,
            lifetimes=Lifetimes(root=timedelta(days=root_days)),
            now=clock.now(),
        )
    return render_root(state, done="made the next root; pht directory publish makes it known")


@directory.command("publish")
@_workspace
@click.option("--to", "place", required=True, metavar="PLACE", help="folder:/path, layout:/path, or a registry's URL.")
@click.option("--refresh", is_flag=True, help="Renew snapshot and timestamp only: needs nothing but the online key.")
@click.option("--targets-days", type=_DAYS, default=90, show_default=True, help="Validity of the list of documents.")
@click.option("--snapshot-days", type=_DAYS, default=30, show_default=True, help="Validity of the snapshot.")
@click.option("--timestamp-days", type=_RENEWED, default=7, show_default=True, help="Validity of the timestamp.")
@click.option("--online-passphrase-file", type=_PATH, help="For the online key. Default: the other one.")
@passphrase_option
@click.pass_obj
def directory_publish(
    context: Root,
    *,
    place: str,
    workspace: Path,
    refresh: bool,
    targets_days: int,
    snapshot_days: int,
    timestamp_days: int,
    online_passphrase_file: Path | None,
    passphrase_file: Path | None,
) -> Answer:
    """Sign what is staged, and publish it.

    If it is interrupted, run it again.

    \b
    pht directory publish consortium --to http://registry.example:5000
    pht directory publish consortium --to folder:/srv/www/directory --refresh      (daily, from a timer: pht directory unit)
    """
    ours, sink = Workspace(workspace), sink_at(place, context.login())
    own = b"" if refresh else passphrase_for("the targets key", passphrase_file)
    online = passphrase_for("the online key", online_passphrase_file or passphrase_file)
    lifetimes = Lifetimes(
        targets=timedelta(days=targets_days),
        snapshot=timedelta(days=snapshot_days),
        timestamp=timedelta(days=timestamp_days),
    )
    with working("signing and publishing"):
        published = publish(
            ours,
            sink,
            targets_key=None if refresh else open_targets_key(ours, own),
            online_key=open_online_key(ours, online),
            lifetimes=lifetimes,
            now=clock.now(),
        )
    return render_publication(published, place, unpublished(ours))


@directory.command("show")
@_workspace
def directory_show(workspace: Path) -> Answer:
    """Show root, parties, base images, and what is staged."""
    ours = Workspace(workspace)
    return render_workspace(root_state(ours), ours.staged(), unpublished(ours))


def _workspace_and_card(folder: Path, card: Path, command: str) -> tuple[Workspace, PartyCard]:
    if folder.is_file() and card.is_dir():
        msg = "the folder comes first"
        raise InvalidInput(msg, hint=f"pht directory {command} {card} {folder}")
    return Workspace(folder), card_at(card)


def _digest(text: str, name: str) -> Digest:
    try:
        return Digest(text.removeprefix(f"base/{name}@"))
    except Malformed as error:
        msg = "not a digest (sha256: and 64 hexadecimal digits)"
        raise InvalidInput(msg, value=repr(text)[:80]) from error


def _moment(text: str) -> datetime:
    """Read a time as a person types it: a UTC time, or a date, which stands for its beginning."""
    try:
        return parse_time(text if "T" in text else f"{text}T00:00:00Z")
    except Malformed as error:
        msg = "not a time (2026-01-31, or 2026-01-31T12:00:00Z, in UTC)"
        raise InvalidInput(msg, value=repr(text)[:80]) from error


for command in (directory_verify, directory_pin, directory_unit):
    directory.add_command(command)
