"""Where does plaintext lie while a visit needs it, and how is it got rid of?

One private folder per visit below one root, on tmpfs or an encrypted disk (`pht station check` says what it sees). Nothing is
overwritten: on such file systems removing is enough, and on others overwriting would not be.

A run may leave anything in its room: folders without permissions, thousands of levels, links to elsewhere. Wiping goes
by open folders and never by paths, so no link is followed (attack T16), and moves every folder to the top before it
enters it, so depth costs neither stack nor path length. A folder that is a mount point cannot be moved: what a mistake
mounted into a room is not emptied, but reported.

Nothing that is laid out in a room is made durable: files that were not written to disk before the machine went down can be
there and be empty. So a room knows in which life of the machine it was made, and no run begins in it in another.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from security.digest import Digest
from security.errors import FileMissing
from security.files import PRIVATE_FOLDER, explain, make_folder, read_file, told, write_note
from station.errors import RoomMissing, WorkroomNotWiped
from station.visit.events import ArrivalId

_NAME = re.compile(r"[0-9a-f]{64}")


def boot_id() -> str:
    """Return what names the present life of the machine (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workroom:
    """The room of one visit."""

    path: Path

    @property
    def code(self) -> Path:
        """The opened code: read-only for the run."""
        return self.path / "code"

    @property
    def state(self) -> Path:
        """The state: what came in, and after the run what is to go out."""
        return self.path / "state"

    @property
    def incoming(self) -> Path:
        """A folder for each party that a state came from, where those are not one: read-only for the run."""
        return self.path / "incoming"

    @property
    def sums(self) -> Path:
        """The masked vectors that came with a state, which runs do not see."""
        return self.path / "sums"

    @property
    def keep(self) -> Path:
        """What the run leaves for the next stop of its train here, and what an earlier one left for it. It never travels."""
        return self.path / "keep"

    @property
    def finished(self) -> Path:
        """A file that is there if the run of a combination said that the train goes home: taken out of its state."""
        return self.path / "finished"

    @property
    def outgoing(self) -> Path:
        """What of the state may leave, as the gate printed it: what is shown, released and sealed."""
        return self.path / "outgoing"

    @property
    def judged(self) -> Path:
        """A file with the digest of what lay in `outgoing` when the gate last judged it."""
        return self.path / "judged"

    @property
    def context(self) -> Path:
        """A file with what the run can read about itself."""
        return self.path / "context.json"

    @property
    def data(self) -> Path:
        """A folder for each data set that was copied here."""
        return self.path / "data"

    @property
    def scratch(self) -> Path:
        """What a data set needs while it is furnished."""
        return self.path / "scratch"

    @property
    def furnished(self) -> Path:
        """A file that says where each data set of the run is."""
        return self.path / "furnished.json"

    @property
    def boot(self) -> Path:
        """A file that names the life of the machine in which the room was made."""
        return self.path / "boot"

    @property
    def printed(self) -> Path:
        """A file with the end of what the run printed."""
        return self.path / "printed"

    @property
    def used(self) -> Path:
        """A file that is there from before the first run of this room begins: the state is no longer what came in."""
        return self.path / "used"


class Workrooms:
    """All rooms of a station. A room's name is the visit's, so that it is found again after a restart."""

    def __init__(self, root: Path, *, boot: Callable[[], str] = boot_id) -> None:
        self._root, self._boot = root, boot

    def make(self, visit: ArrivalId) -> Workroom:
        """Return an empty room, whatever was in it before.

        Raises:
            WorkroomNotWiped: something of an earlier attempt cannot be removed.
            DiskFull: no room for it.
        """
        self.wipe(visit)
        path = self._at(visit)
        with told(path):
            path.mkdir(mode=PRIVATE_FOLDER)
            room = Workroom(path=path)
            for folder in (room.code, room.data, room.incoming, room.keep, room.state):
                folder.mkdir(mode=PRIVATE_FOLDER)
            write_note(room.boot, self._boot().encode())
        return room

    def find(self, visit: ArrivalId) -> Workroom:
        """Return the room made before.

        Raises:
            RoomMissing: it is gone; the visit is opened again.
        """
        path = self._at(visit)
        if path.is_symlink() or not path.is_dir() or not Workroom(path=path).state.is_dir():
            msg = "the workroom is gone"
            raise RoomMissing(msg, visit=visit.short)
        return Workroom(path=path)

    def need_laid_out(self, visit: ArrivalId) -> None:
        """Demand that what was laid out in a room is there as it was: that the machine has been up since.

        Raises:
            RoomMissing: it went down; the visit is opened again.
        """
        room = self.find(visit)
        try:
            made = read_file(room.boot, limit=100).decode("ascii", "replace")
        except FileMissing:
            made = ""
        if made != self._boot():
            msg = "the machine was started again since the workroom was made"
            raise RoomMissing(msg, visit=visit.short)

    def room_for(self, data: str, visit: ArrivalId) -> Path:
        """Return an empty folder of the visit's room for a data set, whatever was in it before.

        Raises:
            RoomMissing: the room is gone.
            WorkroomNotWiped: something in the folder cannot be removed.
        """
        return self._emptied(self.find(visit).data / data, visit)

    @contextlib.contextmanager
    def scratch(self, visit: ArrivalId) -> Iterator[Path]:
        """Yield an empty folder of the visit's room that runs never see, and remove it, also after a failure.

        Raises:
            RoomMissing: the room is gone.
            WorkroomNotWiped: something in the folder cannot be removed.
        """
        folder = self.find(visit).scratch
        try:
            yield self._emptied(folder, visit)
        finally:
            with self._removing(visit), _entered(str(folder.parent)) as parent:
                _remove(folder.name, parent)

    def outgoing(self, visit: ArrivalId) -> Path:
        """Return an empty folder of the visit's room for what may leave, whatever was in it before.

        Raises:
            RoomMissing: the room is gone.
            WorkroomNotWiped: something in the folder cannot be removed.
        """
        return self._emptied(self.find(visit).outgoing, visit)

    def _emptied(self, folder: Path, visit: ArrivalId) -> Path:
        with self._removing(visit), _entered(str(folder.parent)) as parent:
            _remove(folder.name, parent)
        with told(folder):
            folder.mkdir(mode=PRIVATE_FOLDER)
        return folder

    def names(self) -> tuple[ArrivalId, ...]:
        """Return the visits that have a room now."""
        if not self._root.is_dir():
            return ()
        return tuple(Digest.of_hex(one.name) for one in sorted(self._root.iterdir()) if _NAME.fullmatch(one.name))

    def wipe(self, visit: ArrivalId) -> None:
        """Remove a room and everything in it; it is fine if there is none.

        Raises:
            DiskReadOnly: nothing can be removed now.
            WorkroomNotWiped: something cannot be removed.
        """
        make_folder(self._root)
        with self._removing(visit), _entered(str(self._root.resolve())) as root:
            if _remove(visit.hex, root):
                os.fsync(root)

    @contextlib.contextmanager
    def _removing(self, visit: ArrivalId) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno == errno.EROFS:
                raise explain(error, self._root) from error
            msg = "something in a workroom cannot be removed"
            hint = f"look into {self._at(visit)}: is something mounted there, or owned by another user?"
            raise WorkroomNotWiped(msg, visit=visit.short, reason=error.strerror, hint=hint) from error

    def _at(self, visit: ArrivalId) -> Path:
        return self._root / visit.hex


def _remove(name: str, parent: int) -> bool:
    """Remove what is called `name` in an open folder: a file, a link, or a folder and all in it. Return whether it was there."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return False
    except IsADirectoryError:
        _unlock(name, parent)
        with _entered(name, parent) as top:
            _empty(top)
        os.rmdir(name, dir_fd=parent)
    return True


def _empty(top: int) -> None:
    lifted, emptied, fresh = 0, 0, secrets.token_hex(16)

    def clear(folder: int) -> None:
        """Remove the files of a folder; move its folders to the top under names nothing in the room can have."""
        nonlocal lifted
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                _unlock(entry.name, folder)
                os.rename(entry.name, f"{fresh}-{lifted}", src_dir_fd=folder, dst_dir_fd=top)
                lifted += 1
            else:
                os.unlink(entry.name, dir_fd=folder)

    clear(top)
    while emptied < lifted:
        name = f"{fresh}-{emptied}"
        with _entered(name, top) as folder:
            clear(folder)
        os.rmdir(name, dir_fd=top)
        emptied += 1


@contextlib.contextmanager
def _entered(name: str, parent: int | None = None) -> Iterator[int]:
    handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield handle
    finally:
        os.close(handle)


def _unlock(name: str, parent: int) -> None:
    """Give ourselves every right to a folder. Through /proc, as Linux changes the mode of open files and of paths only."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        with contextlib.suppress(PermissionError):  # another user's folder: perhaps it can be removed all the same
            Path(f"/proc/self/fd/{handle}").chmod(PRIVATE_FOLDER)
    finally:
        os.close(handle)
