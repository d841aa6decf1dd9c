"""How does a scientist's folder become a signed and sealed train?

`build` is the whole way as one function. It needs no network: the directory and the keys are handed in, so a rehearsal
builds its train with keys of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from registry.blobs import BlobFolder
from security.age import Identity, another_like
from security.archive import Member
from security.digest import Digest, digest_of, digest_stream
from security.directory.trust import TrustStore
from security.encoding import dump_json
from security.files import make_folder, told
from security.ids import PartyId, TrainId
from security.keys.keyset import Secrets
from security.statement.envelope import Envelope, sign
from security.train.journey import TrainParts
from security.train.letters import Parcel, manifest_recipients, seal_letter
from security.train.manifest import print_manifest
from security.train.seal import CodeBinding, SealedCode, seal_code
from security.train.verify import AcceptedTrain, verify_train
from train_builder.build import compose
from train_builder.code.sources import SourceTree, merged
from train_builder.code.wheels import REQUIREMENTS, Target
from train_builder.spec.spec import TrainSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltTrain:
    """A train before departure: what will travel, the folder its sealed code lies in, and what it was made from.

    ``mail`` opens what the stations will say about it. ``content`` is the digest of the plain code; it is known to those
    who can open the seal and goes nowhere else.
    """

    train: TrainId
    envelope: Envelope
    parcel: Parcel
    mail: Identity = field(repr=False)
    blobs: BlobFolder
    content: Digest
    accepted: AcceptedTrain


def build(
    spec: TrainSpec,
    tree: SourceTree,
    *,
    owner: PartyId,
    secrets: Secrets,
    trust: TrustStore,
    blobs: BlobFolder,
    now: datetime,
    vendored: Sequence[Member] = (),
) -> BuiltTrain:
    """Seal the code, compose and sign the manifest, and verify the result as the first station will.

    Raises:
        PartyUnknown, KeyNotTrusted, KeyRevoked, KeyOutsideValidity, BaseNotApproved, OutsideValidity: the directory
            does not allow this train.
        InvalidInput: the spec asks for something every station would refuse.
        ArchiveRejected: a file of the code changed meanwhile.
    """
    keys, nonce = secrets.key_set, compose.new_nonce()
    readers = compose.readers(spec, trust, keys, now)
    sealed = _seal(merged(tree, vendored), CodeBinding(owner=owner, nonce=nonce), readers, blobs)
    mail = another_like(secrets.identity.recipient)
    manifest = compose.manifest(
        spec, owner=owner, keys=keys, mail=str(mail.recipient), code=sealed.ref, nonce=nonce, trust=trust, now=now
    )
    envelope = sign(print_manifest(manifest), secrets.signers)
    parts = TrainParts(manifest=envelope, entries=(), code=sealed.ref, states=())
    first = manifest.route.starts[0]
    accepted = verify_train(parts, trust, here=manifest.expected_at(first).party, now=now)
    letter = seal_letter(envelope, manifest_recipients(readers, manifest.mail))
    return BuiltTrain(
        train=accepted.train,
        envelope=envelope,
        parcel=Parcel(manifest=letter, entries=(), code=sealed.ref, states=()),
        mail=mail,
        blobs=blobs,
        content=sealed.content,
        accepted=accepted,
    )


def source_digest(spec: TrainSpec, tree: SourceTree, target: Target) -> Digest:
    """Return what tells whether two trains were made from the same spec and the same code, with packages for one Python.

    It stays in the owner's home: of little code, a public digest would tell the content.
    """
    parts = [repr(spec)]
    if tree.find(REQUIREMENTS) is not None:
        parts.append(repr(target))
    for member in tree.members:
        with member.open() as source:
            parts += [member.path, str(member.executable), digest_stream(source)[0]]
    return digest_of(dump_json(parts))


def _seal(tree: SourceTree, binding: CodeBinding, recipients: Sequence[str], blobs: BlobFolder) -> SealedCode:
    """Seal into a file that has no name yet, for its name is its digest."""
    make_folder(blobs.path)
    with told(blobs.path), tempfile.TemporaryFile(dir=blobs.path) as unnamed:
        sealed = seal_code(unnamed, tree.members, binding=binding, recipients=recipients)
        unnamed.seek(0)
        blobs.put(sealed.ref.digest, sealed.ref.size, unnamed)
    return sealed
