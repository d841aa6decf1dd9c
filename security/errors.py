"""Which errors are there, and who must act on each of them?

The tree, by family. The family decides the exit status and whether a daemon tries again; the leaf and its stable
``code`` decide what a person reads::

    PhtError
    ├─ Refused         10   do not trust or run this; final; whoever sent it must act
    ├─ Unavailable     20   may work later; retried with backoff
    ├─ TrainFault      30   the analysis itself failed; its author must act
    └─ Misconfigured   40   this installation, file or command is wrong; the person in front of it must act

Leaves live here when ``security`` raises them and in ``<package>/errors.py`` otherwise. Each leaf's docstring is its
explanation in ``docs/errors.md``, which is generated from this tree.
"""

from __future__ import annotations

from typing import ClassVar


class PhtError(Exception):
    """Anything this software knows how to explain.

    The message is lower case and constant; what varies goes into ``fields``. Neither ever carries key material,
    plaintext or the output of a run.
    """

    code: ClassVar[str] = "error"
    exit: ClassVar[int] = 1
    default_hint: ClassVar[str | None] = None

    def __init__(self, message: str, *, hint: str | None = None, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint if hint is not None else self.default_hint
        self.fields: dict[str, object] = fields

    def __str__(self) -> str:
        """Return the message with its fields, as one line that is safe to print on a terminal.

        A field may quote what a stranger sent: its control characters must not reach a terminal. Of one that is None nothing is said.
        """
        told = ", ".join(f"{name}={value}" for name, value in self.fields.items() if value is not None)
        if not told:
            return self.message
        return "".join(letter if letter.isprintable() else " " for letter in f"{self.message} ({told})")


class Refused(PhtError):
    """This must not be trusted or run. Final: retrying changes nothing."""

    code = "refused"
    exit = 10
    default_hint = "do not use it; contact whoever sent it"


class Malformed(Refused):
    """Something that arrived is not in the form the protocol requires."""

    code = "malformed"
    default_hint = "it was damaged, or made by other software: ask the sender for a new copy"


class MalformedJson(Malformed):
    """Not strict JSON: duplicate keys, NaN, a number out of range, too deep, too long, or not UTF-8."""

    code = "malformed.json"


class MalformedStatement(Malformed):
    """A document has a missing, unknown or invalid field."""

    code = "malformed.statement"


class MalformedArtifact(Malformed):
    """An OCI document is ambiguous or is not what its descriptor says."""

    code = "malformed.artifact"


class ArchiveRejected(Malformed):
    """An archive holds something other than plain files and folders with plain names."""

    code = "malformed.archive"


class BudgetExceeded(Malformed):
    """Something is larger or longer than allowed, or has too many members."""

    code = "malformed.too-large"


class SignatureRejected(Refused):
    """An envelope does not count as signed by the party it names."""

    code = "signature.rejected"


class SignatureMissing(SignatureRejected):
    """A key of the party's key set did not sign; every key of the set must."""

    code = "signature.missing"


class SignatureInvalid(SignatureRejected):
    """A signature under a key of the party's key set does not verify."""

    code = "signature.invalid"


class KeyNotTrusted(Refused):
    """The directory does not know this key set for this party."""

    code = "key.not-trusted"
    default_hint = "stop here; ask the consortium which keys this party has"


class PartyUnknown(KeyNotTrusted):
    """The directory has no such party, or not in this role."""

    code = "party.unknown"
    default_hint = "the consortium adds parties: pht directory add, then pht directory publish"


class KeyRevoked(Refused):
    """The directory has revoked this party or this key set, as of a date: only what it signed before still counts."""

    code = "key.revoked"


class KeyOutsideValidity(Refused):
    """The key set was not in force at the time in question."""

    code = "key.outside-validity"
    default_hint = "is this machine's clock right? If it is, ask the consortium which keys this party has"


class BaseNotApproved(Refused):
    """The base image is not approved in the directory, or its approval was withdrawn."""

    code = "base.not-approved"
    default_hint = "the consortium approves images: pht directory approve-base, then pht directory publish"


class DirectoryRejected(Refused):
    """The directory's metadata is not signed as its root requires, or is inconsistent."""

    code = "directory.rejected"


class DirectoryRolledBack(DirectoryRejected):
    """The directory served is older than one seen before."""

    code = "directory.rolled-back"


class DirectoryExpired(DirectoryRejected):
    """The directory's metadata has expired: the consortium must publish, or someone is withholding updates."""

    code = "directory.expired"
    default_hint = "the consortium runs 'pht directory publish'; if it has, is this machine's clock right? Otherwise someone is withholding the newer version"


class OutsideValidity(Refused):
    """The train is no longer valid, or for longer than the consortium allows."""

    code = "train.outside-validity"
    default_hint = "compare its dates with this machine's clock; if that is right, its owner sends a new train"


class RouteViolated(Refused):
    """The train is not where its signed route says it should be."""

    code = "route.violated"


class NotOnRoute(RouteViolated):
    """This party is not a stop of the train's route."""

    code = "route.not-on-route"


class RouteCutOff(RouteViolated):
    """A station still to come has no keys that count: they were revoked, ran out, or are not in the directory."""

    code = "route.cut-off"
    default_hint = "its owner sends a new train: it takes the station's present keys, or leaves the station out"


class JourneyBroken(Refused):
    """The journey entries do not prove the way from the manifest to here."""

    code = "journey.broken"


class JourneyIncomplete(JourneyBroken):
    """There are fewer journey entries than stops before this one."""

    code = "journey.incomplete"


class JourneyTooLong(JourneyBroken):
    """There are more journey entries than stops before this one."""

    code = "journey.too-long"


class JourneyForeignEntry(JourneyBroken):
    """A journey entry is about another train, stop or station."""

    code = "journey.foreign-entry"


class JourneyUnlinked(JourneyBroken):
    """A journey entry does not name the entries before it, or the states it received, by their digests."""

    code = "journey.unlinked"


class BoardingRejected(Refused):
    """A boarding pass is missing, is another one than its station signed, or holds keys that are none."""

    code = "boarding.rejected"


class Replayed(Refused):
    """This train has already been at this stop. The second delivery is kept as evidence and not run."""

    code = "visit.replayed"


class Forked(Replayed):
    """Two different trains claim the same identity and stop."""

    code = "visit.forked"


class DigestMismatch(Refused):
    """Bytes do not have the digest or size that was announced."""

    code = "digest.mismatch"


class SealBroken(Refused):
    """A sealed file is damaged: its header or a chunk does not authenticate, or it is truncated."""

    code = "seal.broken"


class HeaderInvalid(SealBroken):
    """A sealed file is not an age v1 file, or its header is malformed or asks for too much."""

    code = "seal.header"


class HeaderTampered(SealBroken):
    """The header of a sealed file is not the one its sender wrote: its MAC does not verify."""

    code = "seal.header-mac"


class PayloadBroken(SealBroken):
    """A chunk of a sealed file was changed, moved, repeated or cut off, or data follows the last one."""

    code = "seal.payload"


class ArmorInvalid(SealBroken):
    """The text armor around a sealed file is not in its one strict form."""

    code = "seal.armor"


class SealForeign(Refused):
    """A sealed file opens, but was made for another train, stop, sender or recipient."""

    code = "seal.foreign"


class SealRecipients(Refused):
    """A sealed file has other recipients than the route allows."""

    code = "seal.recipients"


class CodeAltered(Refused):
    """The code inside the seal is not the code its owner sealed."""

    code = "code.altered"


class Unavailable(PhtError):
    """Something required is unavailable. It may work later; nobody needs to act yet."""

    code = "unavailable"
    exit = 20
    default_hint = "try again later"


class NotYet(Unavailable):
    """Something is dated later than this machine's clock: a train's validity, a key set or a journey entry. It waits."""

    code = "time.not-yet"
    default_hint = (
        "it is looked at again; if it should not be early, check this machine's clock, then that of its sender"
    )


class DirectoryUnavailable(Unavailable):
    """The place the directory is published at cannot be reached."""

    code = "directory.unavailable"
    default_hint = "check the address, or try again later"


class DiskFull(Unavailable):
    """The file system is full; nothing was half-written."""

    code = "disk.full"
    default_hint = "free some space, then repeat the operation"


class DiskReadOnly(Unavailable):
    """The file system cannot be written: it is mounted read-only, as Linux does after an error of the disk."""

    code = "disk.read-only"
    default_hint = "find out why ('dmesg', 'mount'), and make it writable"


class TrainFault(PhtError):
    """The analysis itself failed."""

    code = "train.fault"
    exit = 30
    default_hint = "the author of the train must change it, and send a new one"


class Misconfigured(PhtError):
    """This installation, file or command is wrong. The person in front of it must act."""

    code = "misconfigured"
    exit = 40
    default_hint = "fix it, and run the command again"


class FileMissing(Misconfigured):
    """A named file or folder does not exist or cannot be read."""

    code = "file.missing"
    default_hint = "check the path, and who may read and write there"


class FileExists(Misconfigured):
    """The file already exists, and would be overwritten."""

    code = "file.exists"
    default_hint = "move it away, or choose another name"


class KeyUnreadable(Misconfigured):
    """A key file is malformed, is readable by others, or does not hold the expected key."""

    code = "key.unreadable"
    default_hint = "restore the keys from their backup"


class NotARecipient(Misconfigured):
    """The sealed file was not made for any of the available keys."""

    code = "seal.not-a-recipient"
    default_hint = "check that these are the right keys"


class NotPinned(Misconfigured):
    """There is no pinned root.json, or it does not have the given fingerprint."""

    code = "directory.not-pinned"
    default_hint = "ask the consortium for its root.json, or for its fingerprint"


class NotPublished(Misconfigured):
    """There is no directory at that location, or it lacks this file."""

    code = "directory.not-published"
    default_hint = "check the address; the consortium publishes with 'pht directory publish'"


class InvalidInput(Misconfigured):
    """A value on the command line or in a file is invalid."""

    code = "input.invalid"
    default_hint = "see the command's --help"


class SelectionInvalid(InvalidInput):
    """What a train wants of a data set cannot be read, or does not fit its columns."""

    code = "selection.invalid"
    default_hint = "'pht data show' tells the columns of a data set; docs/train-yaml.md how rows are selected"
