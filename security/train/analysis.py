"""What exactly does a hospital approve when it approves an analysis?

Everything the owner signed, with the code by its content, except what makes two trains of one analysis different trains.
It follows from the manifest's declaration: a field that is added to the manifest is part of it, unless it is named here.

Left out are
- ``code``: the sealed file differs with every sealing; the digest of its content stands in its place,
- ``nonce``: random, so that no two trains are alike; no run sees it,
- ``mail`` and ``letter_key``: keys made for each train, which receipts and letters are sealed for; no run sees them,
- ``valid_from`` and ``valid_until``: when, not what; each train's validity is checked against the clock all the same.

Name and purpose are not left out: a run reads its train's name, and data are approved for a purpose.
"""

from __future__ import annotations

from typing import Final

from security.digest import Digest, digest_of
from security.encoding import Json, dump_json
from security.train.manifest import MANIFEST, TrainManifest

DIFFERS: Final = frozenset({"code", "nonce", "mail", "letter_key", "valid_from", "valid_until"})
"""The fields of a manifest in which two trains of the same analysis may differ."""

_TYPE: Final = "urn:pht:analysis:v1"


def analysis_digest(manifest: TrainManifest, content: Digest) -> Digest:
    """Return the digest of the analysis; `content` is that of its unsealed code."""
    return digest_of(dump_json({"type": _TYPE, "content": str(content), "manifest": _approved(manifest)}))


def _approved(manifest: TrainManifest) -> dict[str, Json]:
    written = MANIFEST.record.write(manifest)
    for name in DIFFERS:
        del written[MANIFEST.record.part(name).key]
    return written
