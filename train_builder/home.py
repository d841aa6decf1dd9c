"""What does an owner's home folder hold?

::

    pht.json          who the owner is, and how registry and directory are reached
    keys/             the owner's key folder (`security.keys.store`)
    trust/root.json   the pinned root of the directory; trust/cache/ what was seen of it last
    trains/<id>/      what is known of each train: record.json and manifest.json before anything leaves, sent.json,
                      looked.json, seen.json, home.json
    blobs/            sealed code and states, by digest
    submit.lock       held by the one submission under way

A train is recorded, whole and durable, before it is sent, and only the recorded train is ever sent.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from registry.blobs import BlobFolder
from security.age import Identity, parse_identity
from security.digest import Digest
from security.directory.client import check_root, read_root
from security.encoding import Fields, Json, dump_pretty, parse_json, print_time
from security.errors import FileMissing, InvalidInput, Malformed, NotPinned, PhtError
from security.files import make_folder, making_folder, read_file, told, write_file
from security.ids import PartyId, TrainId
from security.keys.keyset import spell
from security.keys.store import PUBLIC, read_folder
from security.statement.envelope import MAX_ENVELOPE, Envelope, parse_envelope
from security.train.journey import Outcome, TrainParts
from security.train.letters import MAX_MANIFEST_LETTER, Parcel
from security.train.manifest import TrainManifest, read_manifest
from train_builder.errors import HomeInvalid, TrainForgotten, TrainNotHere
from train_builder.settings import SETTINGS, Settings, parse_settings, print_settings

_LEAST_PREFIX: Final = 4
_HEX = re.compile(r"[0-9a-f]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecord:
    """A train this owner has made. ``sent`` is None as long as its delivery has not been confirmed.

    ``letter`` is the sealed manifest as it travels; ``mail`` opens what the stations say about the train.
    """

    train: TrainId
    envelope: Envelope
    letter: bytes
    mail: Identity = field(repr=False)
    manifest: TrainManifest
    source: Digest
    content: Digest
    recorded: datetime
    sent: datetime | None

    @property
    def parts(self) -> TrainParts:
        """The train before it departs."""
        return TrainParts(manifest=self.envelope, entries=(), code=self.manifest.code, states=())

    @property
    def parcel(self) -> Parcel:
        """The train as it departs."""
        return Parcel(manifest=self.letter, entries=(), code=self.manifest.code, states=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How far a train had come when its receipts were last verified: at a station, ended there, or (``passed``) past them all."""

    stop: int
    party: PartyId
    outcome: Outcome | None = None
    passed: bool = False

    @property
    def ended(self) -> bool:
        """Whether no station will run it any more."""
        return self.passed or self.outcome is not None

    def __str__(self) -> str:
        if self.outcome is not None:
            return f"{self.outcome.value} at {self.party}"
        return "ready to open" if self.passed else f"at {self.party}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """An owner's home folder."""

    path: Path
    settings: Settings

    @property
    def party(self) -> PartyId:
        """The owner."""
        return self.settings.party

    @property
    def keys(self) -> Path:
        """The owner's key folder."""
        return self.path / "keys"

    def keys_of(self, fingerprint: Digest) -> Path:
        """Return the key folder of a key set: the present one, or one from before a rotation that lies beside it.

        Raises:
            FileMissing: none here has it.
        """
        for folder in (self.keys, *sorted(path.parent for path in self.path.glob(f"*/{PUBLIC}"))):
            with contextlib.suppress(PhtError):  # other folders there are ignored
                if read_folder(folder).key_set.fingerprint == fingerprint:
                    return folder
        msg = "the keys this train was made with are not in the home folder"
        hint = "put their folder into it, beside the present keys, under any name"
        raise FileMissing(msg, key_set=spell(fingerprint), home=self.path, hint=hint)

    @property
    def cache(self) -> Path:
        """Where this owner keeps what it has seen of the directory."""
        return self.path / "trust" / "cache"

    @property
    def blobs(self) -> BlobFolder:
        """The sealed blobs."""
        return BlobFolder(self.path / "blobs")

    def root(self) -> bytes:
        """Return the pinned root.

        Raises:
            NotPinned: there is none.
        """
        try:
            return read_root(self.path / "trust" / "root.json")
        except FileMissing as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            msg = "no root of a directory is pinned here"
            raise NotPinned(msg, home=self.path, hint="'pht train setup' pins one") from error

    def records(self) -> tuple[TrainRecord, ...]:
        """Return the trains made here, the oldest first."""
        folders = [path.parent for path in (self.path / "trains").glob("[0-9a-f]*/record.json")]
        return tuple(sorted(map(_read_record, folders), key=lambda one: (one.recorded, one.train)))

    def find(self, name: str) -> TrainRecord:
        """Return the train whose id begins with `name`, or the newest for ``latest``.

        Raises:
            TrainNotHere: none or several do.
            InvalidInput: not the beginning of an id.
        """
        known = self.records()
        if name == "latest":
            matching = known[-1:]
        elif _HEX.fullmatch(name) is None or len(name) < _LEAST_PREFIX:
            msg = "not a train: give 'latest' or four or more digits of its id"
            raise InvalidInput(msg, value=repr(name)[:80])
        else:
            matching = tuple(one for one in known if one.train.startswith(name))
        if len(matching) != 1:
            msg = "no such train here" if not matching else "more than one train begins like this"
            raise TrainNotHere(msg, train=name[:12], home=self.path)
        return matching[0]

    def keep(
        self, envelope: Envelope, *, letter: bytes, mail: Identity, source: Digest, content: Digest, now: datetime
    ) -> TrainRecord:
        """Record a train before it leaves, with the key that opens what is said about it; durable when this returns."""
        train = TrainId(envelope.digest.hex)
        with making_folder(self._folder(train)) as folder:
            write_file(folder / "manifest.json", envelope.to_bytes())
            write_file(folder / "manifest.age", letter)
            write_file(folder / "mail.txt", f"{mail.secret_text()}\n".encode())
            document: Json = {"source": str(source), "content": str(content), "recorded": print_time(now)}
            write_file(folder / "record.json", dump_pretty(document))
        return _read_record(self._folder(train))

    def note_sent(self, train: TrainId, at: datetime) -> None:
        """Record that the first station's mailbox has confirmed the train."""
        write_file(self._folder(train) / "sent.json", dump_pretty({"at": print_time(at)}))

    def note_seen(self, train: TrainId, seen: Seen | None) -> None:
        """Record how far a train was seen, unless it was seen further before: receipts may be taken away, facts not."""
        before = self.seen(train)
        if seen is None or (before is not None and (seen.stop, seen.ended) <= (before.stop, before.ended)):
            return
        document: dict[str, Json] = {"stop": seen.stop, "party": str(seen.party), "passed": seen.passed}
        if seen.outcome is not None:
            document["outcome"] = seen.outcome.value
        write_file(self._folder(train) / "seen.json", dump_pretty(document))

    def note_looked(self, train: TrainId, at: datetime) -> None:
        """Record that the mailbox was asked about a train."""
        write_file(self._folder(train) / "looked.json", dump_pretty({"at": print_time(at)}))

    def looked(self, train: TrainId) -> datetime | None:
        """Return when the mailbox was asked about a train last; None if it never was."""
        path = self._folder(train) / "looked.json"
        try:
            return _note(path).time("at") if path.exists() else None
        except Malformed:
            return None

    def seen(self, train: TrainId) -> Seen | None:
        """Return how far a train was seen; None if nothing was heard of it."""
        path = self._folder(train) / "seen.json"
        if not path.exists():
            return None
        try:
            fields = _note(path)
            return Seen(
                stop=fields.number("stop", least=0),
                party=PartyId(fields.text("party")),
                outcome=Outcome(fields.text("outcome")) if fields.has("outcome") else None,
                passed=fields.flag("passed"),
            )
        except (Malformed, InvalidInput, ValueError):
            return None  # it can be fetched again

    def state_of(self, record: TrainRecord) -> str:
        """Say in a word or two where a train is, as far as this home knows."""
        if self.forgotten(record.train):
            return "forgotten"
        if self.arrival(record.train) is not None:
            return "opened" if self.opened(record.train) else "home"
        seen = self.seen(record.train)
        return str(seen) if seen is not None else "not sent" if record.sent is None else "sent"

    def note_home(self, train: TrainId, arrival: Digest) -> None:
        """Record which verified artifact came home; its blobs are in `blobs`."""
        folder = make_folder(self._folder(train))
        write_file(folder / "home.json", dump_pretty({"arrival": str(arrival)}))

    def knows(self, train: TrainId) -> bool:
        """Whether there is a record of this train, made or brought home here."""
        return self._folder(train).is_dir()

    def note_opened(self, train: TrainId, at: datetime) -> None:
        """Record that the results were opened."""
        write_file(self._folder(train) / "opened.json", dump_pretty({"at": print_time(at)}))

    def opened(self, train: TrainId) -> bool:
        """Whether the results were ever opened."""
        return (self._folder(train) / "opened.json").exists()

    def note_forgotten(self, train: TrainId, at: datetime) -> None:
        """Record that what was sealed is no longer kept."""
        write_file(self._folder(train) / "forgotten.json", dump_pretty({"at": print_time(at)}))

    def forgotten(self, train: TrainId) -> bool:
        """Whether what was sealed is no longer kept."""
        return (self._folder(train) / "forgotten.json").exists()

    def expect_kept(self, train: TrainId) -> None:
        """Check that what was sealed, and what stations said, was not removed on purpose.

        Raises:
            TrainForgotten: it was.
        """
        if self.forgotten(train):
            msg = "the results of this train were forgotten"
            raise TrainForgotten(msg, train=train.short)

    def unnote_home(self, train: TrainId, *drop: Digest) -> None:
        """Forget which artifact came home, and these blobs of it: what is kept cannot be opened."""
        with told(self._folder(train)):
            (self._folder(train) / "home.json").unlink(missing_ok=True)
        for digest in drop:
            self.blobs.drop(digest)

    def arrival(self, train: TrainId) -> Digest | None:
        """Return which verified artifact came home, if one has."""
        path = self._folder(train) / "home.json"
        return Digest(_note(path).text("arrival", most=71)) if path.exists() else None

    def _folder(self, train: TrainId) -> Path:
        return self.path / "trains" / train


def open_home(path: Path) -> Home:
    """Read a home folder.

    Raises:
        HomeInvalid: it is not set up, or its settings are wrong.
    """
    try:
        raw = read_file(path / SETTINGS, limit=1 << 16)
    except FileMissing as error:
        if not isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            raise  # it may be a home folder that this user cannot read
        msg = "not an owner's home folder"
        raise HomeInvalid(
            msg, path=path, hint="name yours with --home or PHT_HOME, or make one with 'pht train setup'"
        ) from error
    try:
        settings = parse_settings(raw)
    except (Malformed, InvalidInput) as error:
        msg = "the settings of the home folder are not valid"
        raise HomeInvalid(
            msg, path=path / SETTINGS, problem=str(error), hint="'pht train setup' writes them again"
        ) from error
    return Home(path=path, settings=settings)


def make_home(path: Path, settings: Settings, root: bytes) -> Home:
    """Set up a home folder: settings, and the pinned root. Existing keys and trains stay.

    Raises:
        HomeInvalid: it is set up for another party, or with another root.
        NotPinned: `root` is no root of a directory.
    """
    check_root(root)
    pinned = path / "trust" / "root.json"
    if (path / SETTINGS).exists() and open_home(path).party != settings.party:
        msg = "the home folder belongs to another party"
        raise HomeInvalid(msg, path=path, hint="choose another folder")
    if pinned.exists() and read_file(pinned) != root:
        msg = "another root is pinned already"
        raise HomeInvalid(
            msg, path=pinned, hint="if the consortium really has a new directory, remove the file by hand"
        )
    make_folder(path / "trains")
    make_folder(pinned.parent)
    write_file(pinned, root)
    write_file(path / SETTINGS, dump_pretty(print_settings(settings)))
    return open_home(path)


def _read_record(folder: Path) -> TrainRecord:
    try:
        fields = Fields(parse_json(read_file(folder / "record.json")), "record.json")
        envelope = parse_envelope(read_file(folder / "manifest.json", limit=MAX_ENVELOPE))
        record = TrainRecord(
            train=TrainId(folder.name),
            envelope=envelope,
            letter=read_file(folder / "manifest.age", limit=MAX_MANIFEST_LETTER),
            mail=parse_identity(read_file(folder / "mail.txt").decode(errors="replace").strip()),
            manifest=read_manifest(envelope.payload),
            source=Digest(fields.text("source")),
            content=Digest(fields.text("content")),
            recorded=fields.time("recorded"),
            sent=_note(folder / "sent.json").time("at") if (folder / "sent.json").exists() else None,
        )
    except (Malformed, InvalidInput, FileMissing) as error:
        msg = "the record of a train is damaged"
        raise HomeInvalid(msg, folder=folder, problem=str(error), hint="restore it, or move the folder away") from error
    if envelope.digest.hex != record.train:
        msg = "the record of a train holds another train's manifest"
        raise HomeInvalid(msg, folder=folder, hint="restore it, or move the folder away")
    return record


def _note(path: Path) -> Fields:
    return Fields(parse_json(read_file(path, limit=1 << 16)), path.name)
