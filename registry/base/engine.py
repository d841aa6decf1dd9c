"""How is an image taken from a container engine?

The only place outside a station's sandbox that talks to an engine. It saves an image and runs nothing.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, cast

import docker
from docker.errors import DockerException, ImageNotFound
from docker.utils import kwargs_from_env
from requests.exceptions import RequestException

from registry.errors import EngineUnavailable
from security.errors import FileMissing

_SECONDS: Final = 120


@contextmanager
def saved_image(name: str, engine: str | None) -> Iterator[BinaryIO]:
    """Stream an image from the engine at `engine` (None: the user's default), as ``docker save`` writes it.

    Raises:
        EngineUnavailable: no engine answers.
        FileMissing: it has no such image.
    """
    settings = kwargs_from_env() if engine is None else {"base_url": engine}
    try:
        client = docker.APIClient(**settings, timeout=_SECONDS, version="auto")
    except (DockerException, RequestException) as error:
        msg = "no container engine answers"
        raise EngineUnavailable(msg, engine=engine or "default") from error
    try:
        client.inspect_image(name)  # type: ignore[no-untyped-call] # docker-py's stubs miss it
        pieces = _Pieces(iter(client.get_image(name)), name)
    except ImageNotFound as error:
        client.close()
        msg = "the engine has no such image"
        raise FileMissing(msg, image=name, hint="'docker images' lists them") from error
    except (DockerException, RequestException) as error:
        client.close()
        raise _broken(name) from error
    try:
        yield cast("BinaryIO", io.BufferedReader(pieces, 1 << 20))
    finally:
        client.close()


def _broken(name: str) -> EngineUnavailable:
    msg = "the engine closed the connection before the image was complete"
    return EngineUnavailable(msg, image=name)


class _Pieces(io.RawIOBase):
    """Reads an iterator of pieces."""

    def __init__(self, pieces: Iterator[bytes], name: str) -> None:
        super().__init__()
        self._pieces, self._name, self._left = pieces, name, memoryview(b"")

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # narrower than the stub
        """Fill `buffer` from the pieces."""
        while not self._left:
            try:
                piece = next(self._pieces, None)
            except (DockerException, RequestException) as error:
                raise _broken(self._name) from error
            if piece is None:
                return 0
            self._left = memoryview(piece)
        window = memoryview(buffer).cast("B")
        count = min(len(window), len(self._left))
        window[:count], self._left = self._left[:count], self._left[count:]
        return count
