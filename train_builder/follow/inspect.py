"""What is this train, in words?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from security.digest import Digest
from security.directory.trust import TrustStore
from security.encoding import Json, print_time
from security.errors import PhtError
from security.forms.words import others
from security.statement.envelope import Envelope, Verified, parse_statement
from security.train.manifest import LIMITS, MANIFEST, MANIFEST_TYPE, OUTPUT, Limits, TrainManifest, read_manifest
from security.train.verify import verify_manifest
from train_builder.spec.units import show_duration, show_size

_SHOWN: Final = (
    *("name", "purpose", "approval", "owner", "code", "base", "command", "environment", "data", "outputs", "limits"),
    *("route", "recipient", "valid_from", "valid_until", "nonce"),
)
"""The fields of a manifest that are told in words of their own, or mean nothing to people."""
_SHOWN_OF_OUTPUTS: Final = ("path", "media_type", "max_bytes", "schema")
_SHOWN_OF_LIMITS: Final = ("memory_bytes", "cpu_millis", "wall_seconds", "processes", "output_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A manifest and whether it is believed; ``doubt`` says why not. What it claims is shown either way.

    ``predicate`` is the manifest as its owner has signed it.
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
        predicate=parse_statement(envelope.payload, predicate_type=MANIFEST_TYPE).predicate,
        digest=envelope.digest,
        proven=proven,
        doubt=doubt,
        base_name=None if base is None else base.name,
    )


def describe_inspection(inspection: Inspection) -> str:
    """Put a manifest into words, and say first whether they can be believed."""
    manifest, doubt = inspection.manifest, inspection.doubt
    verdict = (
        f"signed by {manifest.owner.party} with every key of the key set the directory has for it"
        if doubt is None
        else f"NOT TO BE BELIEVED: {doubt} [{doubt.code}]"
    )
    base = f"{inspection.base_name or 'not in the directory'} ({manifest.base})"
    legal = manifest.approval.legal_basis
    lines = [
        f"{manifest.name} ({inspection.digest.short})",
        f"  {verdict}",
        f"  purpose      {manifest.purpose}",
        f"  approval     {manifest.approval.reference}" + ("" if legal is None else f" ({legal})"),
        f"  valid        {print_time(manifest.valid_from)} to {print_time(manifest.valid_until)}",
        f"  code         {manifest.code.digest}, {show_size(manifest.code.size)}, sealed for the route and the owner",
        f"  base         {base}",
        f"  command      {' '.join(manifest.command)}",
        *(f"  environment  {name}={value}" for name, value in sorted(manifest.environment.items())),
        f"  route        {manifest.route} -> {manifest.owner.party}",
        *(f"  reads        {need.name} ({', '.join(need.files)}): {need.description}" for need in manifest.data),
        *(
            f"  leaves       {output.path} ({output.media_type}, at most {show_size(output.max_bytes)}"
            + (", with a schema)" if output.schema is not None else ")")
            + "".join(f", {label} {text}" for label, text in others(OUTPUT, output, *_SHOWN_OF_OUTPUTS))
            for output in manifest.outputs
        ),
        f"  limits       {_limits(manifest.limits)}",
        *(f"  {label:<12} {text}" for label, text in others(MANIFEST.record, manifest, *_SHOWN)),
    ]
    return "\n".join(map(_plain, lines))


def _plain(line: str) -> str:
    """Keep line breaks and escape sequences off the terminal: anybody may have written the manifest."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in line)


def _limits(limits: Limits) -> str:
    words = (
        f"{show_size(limits.memory_bytes)} of memory",
        f"{limits.cpu_millis / 1000:g} processors",
        show_duration(timedelta(seconds=limits.wall_seconds)),
        f"{limits.processes} processes",
        f"{show_size(limits.output_bytes)} of state",
        *(f"{label} {text}" for label, text in others(LIMITS, limits, *_SHOWN_OF_LIMITS)),
    )
    return ", ".join(words)


def inspection_document(inspection: Inspection) -> dict[str, Json]:
    """Return the same for a program, with the manifest as its owner signed it."""
    doubt = inspection.doubt
    return {
        "train": inspection.digest.hex,
        "proven": doubt is None,
        "doubt": None if doubt is None else doubt.code,
        "baseName": inspection.base_name,
        "manifest": inspection.predicate,
    }
