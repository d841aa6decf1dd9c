"""What is this train, in words?"""

from __future__ import annotations

from dataclasses import dataclass

from security.digest import Digest
from security.directory.trust import TrustStore
from security.encoding import Json
from security.errors import PhtError
from security.statement.envelope import Envelope, Verified
from security.train.manifest import TrainManifest, read_manifest, told_manifest
from security.train.verify import verify_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A manifest and whether it is believed; ``doubt`` says why not. What it claims is shown either way.

    ``predicate`` is the manifest as its owner has signed it, without the letter key.
    """

    manifest: TrainManifest
    predicate: Json
    digest: Digest
    proven: Verified[TrainManifest] | None
    doubt: PhtError | None
    base_name: str | None


def inspect_envelope(envelope: Envelope, trust: TrustStore) -> Inspection:
    """Look at a manifest's envelope.

    Raises:
        MalformedJson, MalformedStatement: it is no manifest at all.
    """
    manifest = read_manifest(envelope.payload)
    proven: Verified[TrainManifest] | None = None
    doubt: PhtError | None = None
    try:
        proven = verify_manifest(envelope, trust, at=None)
    except PhtError as error:
        doubt = error
    base = trust.bases.get(manifest.base)
    return Inspection(
        manifest=manifest,
        predicate=told_manifest(envelope.payload),
        digest=envelope.digest,
        proven=proven,
        doubt=doubt,
        base_name=None if base is None else base.name,
    )
