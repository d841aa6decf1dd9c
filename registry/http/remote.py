"""How does a registry on the network become a `Registry`?

OCI distribution specification 1.1, and docker-registry 2.8, which predates it: no referrers, no tag paging.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import BinaryIO, Final

from registry.check import expected_digest, open_checked
from registry.errors import RegistryDenied, RegistryListSlow, RegistryMisbehaved, RegistryUnavailable
from registry.http.answers import REDIRECTS, next_page
from registry.http.auth import Scopes
from registry.http.request import MAX_DOCUMENT, Http, Part
from registry.http.upload import Upload
from registry.names import Reference, Repository, Tag
from registry.oci import MANIFEST_TYPES, MAX_MANIFEST, Descriptor, parse_manifest
from registry.port import OpenAt, Progress, StoredManifest
from security.digest import BUFFER, NOTHING, CheckedReader, Digest, Prefix
from security.encoding import parse_json
from security.errors import DigestMismatch, InvalidInput, MalformedJson

MAX_TAGS: Final = 200_000
"""In one repository. A station lists its mailbox to find what is new; known tags are asked for by name."""
_MAX_LIST: Final = 96 * MAX_TAGS  # bytes: a train's tag takes 77, and docker-registry lists all tags at once
_MAX_NESTED: Final = 100
_MAX_PAGES: Final = MAX_TAGS // 100
_NOT_FOUND: Final = 404
LISTING_SECONDS: Final = 300.0
"""For all pages of a list together: each may take its time, and there may be thousands (attack T15)."""


class HttpRegistry:
    """A `Registry` over the distribution API. Safe to share between threads."""

    def __init__(self, http: Http, *, prefix: Repository | None, listing_seconds: float = LISTING_SECONDS) -> None:
        self._http, self._prefix, self._listing_seconds = http, prefix, listing_seconds
        self._broken_off: dict[tuple[Repository, Digest], str] = {}

    def has_blob(self, repo: Repository, digest: Digest) -> bool:
        """See `Registry.has_blob`."""
        url, scopes = self._url(repo, f"blobs/{digest}"), self._scopes(repo, "pull")
        # a registry that stores blobs elsewhere redirects for those it has: the status alone is the answer
        answer = self._http.send("HEAD", url, scopes=scopes, expect={200, _NOT_FOUND, *REDIRECTS})
        return answer.status != _NOT_FOUND

    def open_blob(self, repo: Repository, descriptor: Descriptor, after: Prefix = NOTHING) -> CheckedReader:
        """See `Registry.open_blob`. A registry that does not send the rest alone sends all of it."""
        url, size = self._url(repo, f"blobs/{descriptor.digest}"), descriptor.size
        part = Part(start=after.size, size=size) if after.size else None
        opened = self._http.open(url, scopes=self._scopes(repo, "pull"), small=size <= MAX_DOCUMENT, part=part)
        if opened.announced not in {None, size - opened.start}:
            opened.source.close()
            msg = "size announced by the registry differs from the descriptor"
            raise DigestMismatch(msg, digest=descriptor.digest, size=size, announced=opened.announced)
        checked = open_checked(opened.source, descriptor, after)
        try:
            _skip(opened.source, after.size - opened.start)
        except BaseException:
            checked.close()
            raise
        return checked

    def put_blob(
        self, repo: Repository, descriptor: Descriptor, open_at: OpenAt, progress: Progress | None = None
    ) -> None:
        """See `Registry.put_blob`."""
        if self.has_blob(repo, descriptor.digest):
            return
        key = (repo, descriptor.digest)
        upload = Upload(
            self._http,
            path=f"/v2/{repo.below(self._prefix)}/blobs/uploads/",
            scopes=self._scopes(repo, "pull,push"),
            blob=descriptor,
            open_at=open_at,
            progress=progress,
            location=self._broken_off.pop(key, None),
        )
        try:
            upload.run()
        except RegistryUnavailable:
            if upload.location is not None:
                self._broken_off[key] = upload.location
            raise

    def mount_blob(self, repo: Repository, digest: Digest, source: Repository) -> bool:
        """See `Registry.mount_blob`."""
        url = self._url(repo, "blobs/uploads/", f"mount={digest}&from={source.below(self._prefix)}")
        scopes = (*self._scopes(repo, "pull,push"), *self._scopes(source, "pull"))
        try:
            return self._http.send("POST", url, scopes=scopes, expect={201, 202}).status == 201  # noqa: PLR2004 - created
        except RegistryDenied:
            return False  # no right to read there; the upload will show whether we may write here

    def get_manifest(self, repo: Repository, reference: Reference, *, most: int = MAX_MANIFEST) -> StoredManifest:
        """See `Registry.get_manifest`."""
        answer = self._http.send(
            "GET",
            self._url(repo, f"manifests/{reference}"),
            scopes=self._scopes(repo, "pull"),
            expect={200},
            accept=MANIFEST_TYPES,
            limit=most,
        )
        if answer.media_type not in MANIFEST_TYPES:
            msg = "registry returned something that is not an image manifest"
            raise RegistryMisbehaved(msg, repository=repo, reference=reference, media_type=answer.media_type[:80])
        digest = expected_digest(answer.body, reference)
        self._compare(digest, answer.headers.get("docker-content-digest"))
        return StoredManifest(raw=answer.body, media_type=answer.media_type, digest=digest)

    def put_manifest(self, repo: Repository, reference: Reference, raw: bytes, media_type: str) -> Digest:
        """See `Registry.put_manifest`."""
        digest = expected_digest(raw, reference)
        parse_manifest(raw, media_type)
        try:
            answer = self._http.send(
                "PUT",
                self._url(repo, f"manifests/{reference}"),
                scopes=self._scopes(repo, "pull,push"),
                expect={
                    201
                },  # OCI distribution 1.1, "Pushing Manifests"; a server that says 200 to everything is no registry
                headers={"Content-Type": media_type},
                payload=lambda: _Bytes(raw),
            )
        except DigestMismatch as error:
            # Digest and manifest agree. What the registry could not read is its own: the link to a blob that somebody else is pushing,
            # too, such as the empty configuration (seen of CNCF distribution 2.8).
            msg = "the registry cannot read what a manifest names while another writer is at it"
            raise RegistryUnavailable(msg, repository=repo, reference=reference) from error
        self._compare(digest, answer.headers.get("docker-content-digest"))
        return digest

    def delete_manifest(self, repo: Repository, digest: Digest) -> None:
        """See `Registry.delete_manifest`."""
        url, scopes = self._url(repo, f"manifests/{digest}"), self._scopes(repo, "pull,delete")
        self._http.send("DELETE", url, scopes=scopes, expect={200, 202, 204, _NOT_FOUND})

    def list_tags(self, repo: Repository) -> tuple[Tag, ...]:
        """See `Registry.list_tags`."""
        found: set[Tag] = set()
        url: str | None = self._url(repo, "tags/list")
        pages, until = 0, time.monotonic() + self._listing_seconds
        while url is not None:
            answer = self._http.send(
                "GET", url, scopes=self._scopes(repo, "pull"), expect={200, _NOT_FOUND}, limit=_MAX_LIST
            )
            if answer.status == _NOT_FOUND:
                break
            page = _tags(answer.body, repo.below(self._prefix))
            pages += 1
            if len(found) + len(page) > MAX_TAGS or pages > _MAX_PAGES:
                msg = "too many tags in the registry's list"
                raise RegistryMisbehaved(msg, repository=repo, limit=MAX_TAGS)
            url = next_page(answer)
            if url is not None and time.monotonic() > until:
                msg = "the registry's list of tags takes too long"
                raise RegistryListSlow(msg, repository=repo, seconds=int(self._listing_seconds), pages=pages)
            if url is not None and page <= found:
                msg = "the registry's list of tags does not end"
                raise RegistryMisbehaved(msg, repository=repo)
            found |= page
        return tuple(sorted(found))

    def date(self) -> datetime | None:
        """See `Registry.date`: the header of its answer to the question whether it is a registry."""
        answer = self._http.send("GET", self._http.url("/v2/"), scopes=(), expect={200})
        try:
            told = parsedate_to_datetime(answer.headers.get("date", ""))
        except ValueError:
            return None
        return told.astimezone(UTC) if told.tzinfo is not None else None

    def _url(self, repo: Repository, rest: str, query: str = "") -> str:
        return self._http.url(f"/v2/{repo.below(self._prefix)}/{rest}", query)

    def _scopes(self, repo: Repository, actions: str) -> Scopes:
        return (f"repository:{repo.below(self._prefix)}:{actions}",)

    def _compare(self, digest: Digest, claimed: str | None) -> None:
        if claimed is not None and claimed != digest:
            msg = "registry names a manifest by the wrong digest"
            raise DigestMismatch(msg, digest=digest, claimed=repr(claimed)[:90])


def _skip(source: BinaryIO, count: int) -> None:
    while count and (dropped := len(source.read(min(count, BUFFER)))):
        count -= dropped


class _Bytes:
    """Bytes as a request's body; see `registry.http.wire.Payload`."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __len__(self) -> int:
        return len(self._data)

    def read(self, count: int = -1, /) -> bytes:
        """Read on."""
        end = len(self._data) if count < 0 else self._at + count
        piece = self._data[self._at : end]
        self._at += len(piece)
        return piece


def _tags(body: bytes, name: Repository) -> set[Tag]:
    msg = "invalid list of tags from the registry"
    if body.count(b"[") + body.count(b"{") > _MAX_NESTED:  # a list of millions of lists is no list of tags
        raise RegistryMisbehaved(msg, repository=name)
    try:
        document = parse_json(body, limit=len(body))
        tags = document.get("tags") if isinstance(document, dict) and document.get("name") == name else False
        if tags is None:
            return set()  # docker-registry, after the last tag was deleted
        if isinstance(tags, list):
            return {Tag(tag) if isinstance(tag, str) else Tag("") for tag in tags}
    except (MalformedJson, InvalidInput) as error:
        raise RegistryMisbehaved(msg, repository=name) from error
    raise RegistryMisbehaved(msg, repository=name)
