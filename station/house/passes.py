"""Where do the private halves of boarding passes lie, and until when?

One file a train, sealed for this station, from before its pass is signed until the train has ended here. Then it is removed, and
what was sealed for that pass opens for nobody any more (attack T26). The file says in the clear only until when the train can run.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from security.age import Unwrapper
from security.encoding import Fields, dump_json, parse_json, print_time
from security.errors import FileMissing, Malformed, NotARecipient, SealBroken
from security.files import clear_unfinished, make_folder, read_file, told, write_file, writing
from security.ids import PartyId, TrainId
from security.train.boarding import MOST_SECRETS, PassSecrets
from security.train.seal import open_note, seal_note
from station.errors import PassGone

_NAME: Final = re.compile(r"[0-9a-f]{64}")
_UNFINISHED: Final = re.compile(r"\.[0-9a-f]{40}\..*\.part")


class PassKeys:
    """The private halves of all passes of a station."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def make(
        self,
        train: TrainId,
        *,
        like: str,
        later: Sequence[PartyId],
        ours: str,
        until: datetime,
        identities: Sequence[Unwrapper],
    ) -> PassSecrets:
        """Return the keys for a train, made now unless they are there: a pass is signed once, but this may be asked again.

        Raises:
            PassGone: what is there cannot be opened.
            FileMissing: it cannot be read now.
        """
        if not self._is_gone(train):
            return self._read(train, identities)
        made = PassSecrets.generate(like, later)
        sealed = seal_note(made.to_bytes(), ours).hex()
        make_folder(self._root)
        write_file(self._root / train, dump_json({"until": print_time(until), "sealed": sealed}))
        return made

    def find(self, train: TrainId, identities: Sequence[Unwrapper]) -> PassSecrets:
        """Return the keys for a train.

        Raises:
            PassGone: they are not here, or cannot be opened.
            FileMissing: they are here and cannot be read now: a disk's error ends no train.
        """
        try:
            return self._read(train, identities)
        except FileMissing as error:
            if not self._is_gone(train):
                raise
            msg = "this station's keys for the train are gone"
            raise PassGone(msg, train=train.short) from error

    def destroy(self, train: TrainId) -> None:
        """Remove the keys for a train, and what was kept under them; there may be none. The keys go first."""
        with told(self._root):
            (self._root / train).unlink(missing_ok=True)
            for path in sorted(self._root.glob(f"{train}.*")):
                path.unlink(missing_ok=True)

    def kept(self, train: TrainId, stop: int) -> Path:
        """Return the file with what a stop kept."""
        return self._root / f"{train}.{stop}"

    @contextlib.contextmanager
    def keeping(self, train: TrainId, stop: int) -> Iterator[BinaryIO]:
        """Yield a file for what a stop keeps; it has its name, and is durable, once it is whole."""
        place = self.kept(train, stop)
        with writing(place) as sink:
            yield sink

    def drop_kept(self, train: TrainId, stop: int) -> None:
        """Remove what a stop kept; there may be nothing."""
        with told(self._root):
            self.kept(train, stop).unlink(missing_ok=True)

    def trains(self) -> tuple[TrainId, ...]:
        """Return the trains whose keys are here."""
        names = sorted(one.name for one in self._root.iterdir()) if self._root.is_dir() else []
        return tuple(TrainId(name) for name in names if _NAME.fullmatch(name))

    def over(self, now: datetime) -> tuple[TrainId, ...]:
        """Return the trains that can run no more, of which something is still here.

        So is what nobody can read again: damaged keys, and what was kept under keys that are gone, as after a crash in `destroy`.
        """
        names = {path.name.partition(".")[0] for path in self._root.iterdir()} if self._root.is_dir() else set()
        return tuple(TrainId(name) for name in sorted(names) if _NAME.fullmatch(name) and self._is_over(name, now))

    def clear_unfinished(self) -> None:
        """Remove what interrupted writes left. Call it only while nothing is written."""
        clear_unfinished(self._root, _UNFINISHED)

    def _is_over(self, name: str, now: datetime) -> bool:
        try:
            until, _ = self._parts(TrainId(name))
        except PassGone:
            return True
        except FileMissing:
            return self._is_gone(TrainId(name))
        return now >= until

    def _is_gone(self, train: TrainId) -> bool:
        """Whether there is no file with the keys, as opposed to one that cannot be read now."""
        return not os.path.lexists(self._root / train)

    def _read(self, train: TrainId, identities: Sequence[Unwrapper]) -> PassSecrets:
        _, sealed = self._parts(train)
        try:
            return PassSecrets.from_bytes(open_note(io.BytesIO(sealed), identities))
        except (NotARecipient, SealBroken, Malformed) as error:
            msg = "this station's keys for the train cannot be opened"
            raise PassGone(msg, train=train.short) from error

    def _parts(self, train: TrainId) -> tuple[datetime, bytes]:
        raw = read_file(self._root / train, limit=4 * MOST_SECRETS)
        try:
            fields = Fields(parse_json(raw, limit=4 * MOST_SECRETS), "pass")
            until, sealed = fields.time("until"), bytes.fromhex(fields.text("sealed", most=4 * MOST_SECRETS))
            fields.end()
        except (Malformed, ValueError) as error:
            msg = "this station's keys for the train are damaged"
            raise PassGone(msg, train=train.short) from error
        return until, sealed
