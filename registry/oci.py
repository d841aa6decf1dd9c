"""How is an OCI document read so that it has only one meaning?

Image specification 1.1, descriptor and image manifest. Two readers may understand an ambiguous document differently, so
anything ambiguous is refused (attack T14): a manifest that is also an index, media types that differ, content from
elsewhere (``urls``) or embedded (``data``), unknown fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from security.digest import Digest, digest_of
from security.encoding import Fields, Json, dump_json, parse_json
from security.errors import MalformedArtifact, MalformedJson, MalformedStatement

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MANIFEST_TYPES: Final = (OCI_MANIFEST, DOCKER_MANIFEST)

MAX_MANIFEST: Final = 4 << 20  # distribution specification 1.1, "Pushing manifests": registries should take 4 MiB
MAX_LAYERS: Final = 512
MAX_BLOB: Final = 1 << 45  # 32 TiB: keeps arithmetic on sizes within bounds
_MEDIA_TYPE = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
)  # RFC 6838, 4.2
_ANNOTATION_KEY, _ANNOTATION_VALUE = 255, 4096  # characters
_MANIFEST_VALUE: Final = 1 << 20  # the same of a manifest as a whole, where an artifact may have its content
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """The type, digest and size of some bytes, before they are read."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    def document(self) -> dict[str, Json]:
        """Return the descriptor as JSON."""
        value: dict[str, Json] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value


EMPTY_BYTES: Final = b"{}"
EMPTY: Final = Descriptor(media_type=OCI_EMPTY, digest=digest_of(EMPTY_BYTES), size=len(EMPTY_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class OciManifest:
    """A manifest with the bytes it was parsed from. The digest is theirs; they are never serialised again."""

    raw: bytes
    media_type: str
    artifact_type: str | None
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(hash=False)

    @property
    def digest(self) -> Digest:
        """The digest of the bytes."""
        return digest_of(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of this manifest."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.raw))

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The config and the layers."""
        return (self.config, *self.layers)


def make_manifest(
    *,
    config: Descriptor,
    layers: Sequence[Descriptor],
    artifact_type: str | None = None,
    annotations: Mapping[str, str] = _NOTHING,
) -> OciManifest:
    """Write a manifest: the same parts always give the same bytes."""
    value: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.document(),
        "layers": [layer.document() for layer in layers],
    }
    if artifact_type is not None:
        value["artifactType"] = artifact_type
    if annotations:
        value["annotations"] = dict(annotations)
    return parse_manifest(dump_json(value), OCI_MANIFEST)


def parse_manifest(raw: bytes, media_type: str) -> OciManifest:
    """Parse an image manifest announced as `media_type`.

    Raises:
        MalformedArtifact: it is not exactly one image manifest of that type.
        MalformedJson: it is not strict JSON.
    """
    if media_type not in MANIFEST_TYPES:
        msg = "not an image manifest"
        raise MalformedArtifact(msg, media_type=media_type[:80])
    try:
        document = Fields(parse_json(raw, limit=MAX_MANIFEST), "manifest")
        document.number("schemaVersion", least=2, most=2)
        document.constant("mediaType", media_type)
        manifest = OciManifest(
            raw=raw,
            media_type=media_type,
            artifact_type=media_type_of(document, "artifactType") if document.has("artifactType") else None,
            config=_descriptor(document.fields("config")),
            layers=tuple(_descriptor(item) for item in document.objects("layers", most=MAX_LAYERS)),
            annotations=_annotations(document, _MANIFEST_VALUE),
        )
        document.end()
    except MalformedJson:
        raise
    except MalformedStatement as error:
        msg = "ambiguous or malformed manifest"
        raise MalformedArtifact(msg, hint=error.hint, **error.fields) from error
    return manifest


def parse_index(raw: bytes, *, limit: int = MAX_MANIFEST, most: int = 10_000) -> tuple[Descriptor, ...]:
    """Parse the ``index.json`` of an image layout, of at most `limit` bytes and `most` entries.

    Other tools write ``platform`` and ``artifactType`` into its descriptors; both are taken from the manifest and the
    config instead.

    Raises:
        MalformedArtifact: it is not an index.
    """
    try:
        document = Fields(parse_json(raw, limit=limit), "index")
        document.number("schemaVersion", least=2, most=2)
        if document.has("mediaType"):
            document.constant("mediaType", OCI_INDEX)
        if document.has("annotations"):
            _annotations(document)
        entries = document.objects("manifests", most=most)
        document.end()
        for entry in entries:
            for name in ("platform", "artifactType"):
                if entry.has(name):
                    entry.take(name)
        return tuple(_descriptor(entry) for entry in entries)
    except MalformedJson:
        raise
    except MalformedStatement as error:
        msg = "ambiguous or malformed index"
        raise MalformedArtifact(msg, hint=error.hint, **error.fields) from error


def print_index(entries: Sequence[Descriptor]) -> bytes:
    """Write an ``index.json``."""
    return dump_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry.document() for entry in entries]})


def media_type_of(document: Fields, name: str) -> str:
    """Take a media type (RFC 6838) from a document."""
    text = document.text(name, most=255)
    if _MEDIA_TYPE.fullmatch(text) is None:
        msg = "field is not what it should be"
        raise MalformedStatement(msg, field=f"{document.where}.{name}", wanted="a media type")
    return text


def _descriptor(item: Fields) -> Descriptor:
    found = Descriptor(
        media_type=media_type_of(item, "mediaType"),
        digest=Digest(item.text("digest", most=71)),
        size=item.number("size", least=0, most=MAX_BLOB),
        annotations=_annotations(item),
    )
    item.end()  # `urls` and `data` end here: bytes come from the registry, by digest, and from nowhere else
    return found


def _annotations(document: Fields, longest: int = _ANNOTATION_VALUE) -> Mapping[str, str]:
    if not document.has("annotations"):
        return _NOTHING
    found: dict[str, str] = {}
    for name, value in document.mapping("annotations").items():
        if not isinstance(value, str) or len(value) > longest or not 1 <= len(name) <= _ANNOTATION_KEY:
            msg = "field is not what it should be"
            raise MalformedStatement(msg, field=f"{document.where}.annotations", wanted="short strings")
        found[name] = value
    return MappingProxyType(found)
