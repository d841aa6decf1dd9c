"""How is the consortium's directory published in a registry, or on a web server?

In a registry: in the repository ``directory``, with one tag per file, each an artifact whose only layer is the file. So
it needs no service of its own. Nothing is verified here: `security.directory.client` does that (T21).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from registry.check import put_bytes, read_blob
from registry.errors import NotInRegistry, RegistryMisbehaved, RegistryUnavailable
from registry.names import HttpLocation, Repository, Tag
from registry.oci import EMPTY, EMPTY_BYTES, make_manifest, parse_manifest
from registry.port import Registry
from security.errors import DirectoryUnavailable, NotPublished

if TYPE_CHECKING:
    from registry.http.request import Http

DIRECTORY: Final = Repository("directory")
_FILE_TYPE: Final = "application/vnd.pht.directory.file.v1"
_LAYER_TYPE: Final = "application/json"


class RegistryDirectory:
    """A directory in a registry: a source and a sink for `security.directory.client`."""

    def __init__(self, registry: Registry, repository: Repository = DIRECTORY) -> None:
        self._registry, self._repository = registry, repository

    def read(self, name: str, limit: int) -> bytes:
        """See `security.directory.client.DirectorySource.read`."""
        try:
            stored = self._registry.get_manifest(self._repository, Tag(name))
            manifest = parse_manifest(stored.raw, stored.media_type)
            if manifest.artifact_type != _FILE_TYPE or len(manifest.layers) != 1:
                msg = "not a file of a directory"
                raise RegistryMisbehaved(msg, repository=self._repository, tag=name)
            return read_blob(self._registry, self._repository, manifest.layers[0], limit=limit)
        except NotInRegistry as error:
            raise _not_published(name) from error
        except RegistryUnavailable as error:
            raise _unavailable(error) from error

    def write(self, name: str, data: bytes) -> None:
        """See `security.directory.client.DirectorySink.write`: the bytes first, then the tag that names them."""
        config = put_bytes(self._registry, self._repository, EMPTY_BYTES, EMPTY.media_type)
        layer = put_bytes(self._registry, self._repository, data, _LAYER_TYPE)
        manifest = make_manifest(config=config, layers=[layer], artifact_type=_FILE_TYPE)
        self._registry.put_manifest(self._repository, Tag(name), manifest.raw, manifest.media_type)


class WebDirectory:
    """A directory on a web server, read-only: plain files below `place`."""

    def __init__(self, http: Http, place: HttpLocation) -> None:
        self._http, self._path = http, "/" if place.prefix is None else f"/{place.prefix}/"

    def read(self, name: str, limit: int) -> bytes:
        """See `security.directory.client.DirectorySource.read`; a file that is too long raises `RegistryMisbehaved`."""
        try:
            url = self._http.url(f"{self._path}{Tag(name)}")
            return self._http.send("GET", url, scopes=(), expect={200}, limit=limit).body
        except NotInRegistry as error:
            raise _not_published(name) from error
        except RegistryUnavailable as error:
            raise _unavailable(error) from error


def _not_published(name: str) -> NotPublished:
    msg = "the directory has no such file"
    return NotPublished(msg, file=name)


def _unavailable(error: RegistryUnavailable) -> DirectoryUnavailable:
    msg = "the directory cannot be reached"
    return DirectoryUnavailable(msg, reason=str(error), hint=error.hint)
