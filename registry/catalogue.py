"""Where do stations publish what data they have?

Each in a repository of its own, ``catalogue/<party>``, under one tag: an artifact whose only layer is the signed envelope.
A new one replaces the one before. Nothing is verified here: `security.catalogue` does that.
"""

from __future__ import annotations

from typing import Final

from registry.check import put_bytes, read_blob
from registry.errors import NotInRegistry
from registry.names import Repository, Tag
from registry.oci import EMPTY, EMPTY_BYTES, make_manifest, parse_manifest
from registry.port import Registry
from security.catalogue import MAX_CATALOGUE
from security.errors import MalformedArtifact
from security.ids import PartyId

_TYPE: Final = "application/vnd.pht.catalogue.v1"
_LAYER: Final = "application/vnd.pht.catalogue.v1+json"
_TAG: Final = Tag("current")


def catalogue_of(party: PartyId) -> Repository:
    """Return the repository that a station publishes in."""
    return Repository(f"catalogue/{party}")


def publish_catalogue(registry: Registry, party: PartyId, envelope: bytes) -> None:
    """Replace a station's catalogue. May be repeated until it has returned.

    Raises:
        RegistryDenied: this account may not write there.
    """
    repo = catalogue_of(party)
    config = put_bytes(registry, repo, EMPTY_BYTES, EMPTY.media_type)
    layer = put_bytes(registry, repo, envelope, _LAYER)
    manifest = make_manifest(config=config, layers=[layer], artifact_type=_TYPE)
    registry.put_manifest(repo, _TAG, manifest.raw, manifest.media_type)


def published_catalogue(registry: Registry, party: PartyId) -> bytes | None:
    """Fetch a station's catalogue; None if it has published none.

    Raises:
        MalformedArtifact: what is there is none.
    """
    repo = catalogue_of(party)
    try:
        stored = registry.get_manifest(repo, _TAG)
    except NotInRegistry:
        return None
    manifest = parse_manifest(stored.raw, stored.media_type)
    if manifest.artifact_type != _TYPE or len(manifest.layers) != 1:
        msg = "not a catalogue"
        raise MalformedArtifact(msg, repository=repo)
    return read_blob(registry, repo, manifest.layers[0], limit=MAX_CATALOGUE)
