"""How does `tuf.ngclient` read a directory, wherever that is published?

Apart from `security.directory.client`, and imported when a directory is fetched: it brings an HTTP library, which is not used
here and which most commands need not wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from security.errors import NotPublished, PhtError

_BASE_URL: Final = "directory:/"  # ngclient joins names to it; the fetcher takes it off again


class _Fetcher(FetcherInterface):
    """Lets ngclient read a file by its name."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.removeprefix(_BASE_URL)
        try:
            data = self._read(name)
        except NotPublished as error:
            # ngclient takes this for the end of the chain of roots
            raise DownloadHTTPError(name, 404) from error
        except PhtError as error:
            raise DownloadError(name) from error
        return iter((data,))


def make_updater(
    read: Callable[[str], bytes], cache: Path, root: bytes, *, most_root: int, most_targets: int
) -> Updater:
    """Return what fetches and verifies a directory from the trusted `root` on, and keeps it in `cache`.

    `read` returns a published file; `most_root` and `most_targets` are how many bytes of such metadata are read.
    """
    return Updater(
        metadata_dir=str(cache),
        metadata_base_url=_BASE_URL,
        target_dir=str(cache / "targets"),
        target_base_url=_BASE_URL,
        fetcher=_Fetcher(read),
        config=UpdaterConfig(
            max_delegations=0,  # there are none; a list of targets that delegates is refused
            root_max_length=most_root,
            timestamp_max_length=16_384,
            snapshot_max_length=100_000,
            targets_max_length=most_targets,
        ),
        bootstrap=root,
    )
