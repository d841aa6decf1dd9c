"""Which errors does a station raise beyond those of ``security`` and ``registry``?

Their place in the tree, and so who must act, is explained in `security.errors`.
"""

from __future__ import annotations

from security.errors import Misconfigured, Refused, TrainFault, Unavailable

# --- Refused: the train must not be run, or what it wrote must not leave ---------------------------------------------


class PolicyRefused(Refused):
    """This station's admission policy, or its operator, does not let the train run."""

    code = "policy.refused"
    default_hint = "to let it run here, change 'admission' in station.yaml and ask for a new train"


class CohortTooSmall(Refused):
    """What the train asks for is there for fewer patients than this station lets an analysis see."""

    code = "cohort.too-small"
    default_hint = "ask for more patients: a wider 'where'; the station's operator sets the least number"


class TrainRecalled(Refused):
    """The owner of the train has recalled it: it does not go on, here or anywhere."""

    code = "train.recalled"
    default_hint = "nothing is wrong here; its owner knows"


class PassGone(Refused):
    """The private halves of this station's boarding pass are not here: the train ended here, or its folder was lost."""

    code = "boarding.keys-gone"
    default_hint = "the train cannot run here any more: its owner sends a new one"


class GateRefused(Refused):
    """What the run left behind is not what the signed manifest declared. Nothing leaves the station."""

    code = "gate.refused"
    default_hint = "the author of the train must declare what it leaves behind; nothing has left this station"


class GateUndeclared(GateRefused):
    """The run left a file that matches no declared output."""

    code = "gate.undeclared"


class GateOversized(GateRefused):
    """An output, or all of them together, is larger than was declared."""

    code = "gate.oversized"


class GateType(GateRefused):
    """An output is not of its declared media type, is not a plain file, or has changed since it was cleared."""

    code = "gate.type"


class GateSchema(GateRefused):
    """An output is of its declared type, but does not satisfy its declared schema."""

    code = "gate.schema"


# --- Unavailable -----------------------------------------------------------------------------------------------------


class SandboxUnavailable(Unavailable):
    """The container engine does not answer."""

    code = "sandbox.unavailable"
    default_hint = "check that the container engine is running, and that this user may open its socket"


class RunInterrupted(Unavailable):
    """The run was ended from outside: the engine or the machine went down, or its disk could not be written. It is run again."""

    code = "run.interrupted"


class RunPaused(Unavailable):
    """Somebody paused the run in the container engine. It goes on once they let it, within its time."""

    code = "run.paused"
    default_hint = "'docker unpause' lets it go on; a run that is paused until its time is over is run again"


class DataSourceUnavailable(Unavailable):
    """A data set cannot be reached where it lives."""

    code = "data.unavailable"
    default_hint = "check that it is mounted; the train waits"


class DataCrowded(Unavailable):
    """What a train asks for of a data set does not fit onto the disk beside what other trains may use of it. It waits for them."""

    code = "data.crowded"
    default_hint = (
        "the train waits until others are gone; 'capacity' in station.yaml says how much disk there is for all"
    )


class RoomMissing(Unavailable):
    """The workroom of a visit is gone, as after a reboot. The train is opened and run again."""

    code = "workroom.missing"


class JournalRaced(Unavailable):
    """The visit was updated concurrently. What was about to be recorded was not; look again."""

    code = "journal.raced"
    default_hint = "look again with 'pht station show', and decide again"


class LogMoved(Unavailable):
    """A record was about to be added to the end of a log that has grown meanwhile. The journal adds it again."""

    code = "journal.moved"


class JournalUnwritable(Unavailable):
    """The file system of the journal cannot be written now, as when it has become read-only. Nothing is done meanwhile."""

    code = "journal.unwritable"
    default_hint = "find out why ('dmesg', 'mount'), and make it writable; the station goes on by itself"


class JournalBusy(Unavailable):
    """Another process has been writing to the journal for too long."""

    code = "journal.busy"
    default_hint = "try again"


# --- TrainFault ------------------------------------------------------------------------------------------------------


class RunFailed(TrainFault):
    """The analysis ended with an exit status other than zero, or could not be started at all."""

    code = "run.failed"


class RunTimedOut(TrainFault):
    """The analysis was still running at the end of the wall-clock time it had declared, and was stopped."""

    code = "run.timed-out"


class LimitExceeded(TrainFault):
    """The analysis went over a limit, and was stopped."""

    code = "run.limit"


class MemoryExceeded(LimitExceeded):
    """The analysis used more memory than it had declared, and was stopped."""

    code = "run.memory"


class OutputExceeded(LimitExceeded):
    """The analysis wrote more bytes or files than it may, and was stopped."""

    code = "run.output"


class NoResults(TrainFault):
    """The analysis ended well and left nothing behind."""

    code = "run.no-results"


# --- Misconfigured ---------------------------------------------------------------------------------------------------


class ClockWrong(Misconfigured):
    """This machine's clock shows a time that cannot be."""

    code = "clock.wrong"
    default_hint = (
        "set the clock, and let a time server keep it; if the journal is ahead, it was ahead when that was written"
    )


class SandboxUnfit(Misconfigured):
    """The container engine lacks something the sandbox needs: a runtime, an image, seccomp, cgroups."""

    code = "sandbox.unfit"
    default_hint = "the reason is the engine's own; its log has more ('journalctl -u docker', on most machines)"


class SandboxRefused(Misconfigured):
    """The container the engine made differs from what was ordered; it was removed and not started."""

    code = "sandbox.refused"
    default_hint = "find out what changes containers on this machine: an engine plugin, a policy or a person"


class RunLingers(Misconfigured):
    """Processes of a run whose container is over still live, and this user may not end them. The train waits."""

    code = "run.lingers"
    default_hint = (
        "end them as root ('kill -9', with the numbers above), or restart the machine; the train goes on by itself"
    )


class DataClosed(Misconfigured):
    """The user that runs have in the sandbox may not read a data set. The train waits."""

    code = "data.closed"
    default_hint = "'pht station check' names the file, and what to do; the train waits"


class DataUnfit(Misconfigured):
    """A data set is not what station.yaml says: a column is gone, a cell is not of its type, a right is too narrow or too wide."""

    code = "data.unfit"
    default_hint = "'pht station data check' says what is different; correct the data or station.yaml. The train waits"


class DataTooLarge(Misconfigured):
    """What a train asks for of a data set is more than this station has disk for, all other trains gone. The train waits."""

    code = "data.too-large"
    default_hint = (
        "raise 'capacity' in station.yaml, with a disk that has it; or refuse the train: its owner can ask for less"
    )


class ConfigInvalid(Misconfigured):
    """The station's configuration file is not valid."""

    code = "config.invalid"
    default_hint = "correct the file, then: pht station check"


class StationBusy(Misconfigured):
    """Another daemon works on this state folder."""

    code = "station.busy"


class JournalDamaged(Misconfigured):
    """The journal's hash chain is broken, or the journal is not this station's."""

    code = "journal.damaged"
    default_hint = "stop the daemon, and restore the whole state folder from its backup"


class AlreadySigned(Misconfigured):
    """A second signature for the same visit was about to be recorded. There is at most one, ever."""

    code = "journal.already-signed"


class JournalTruncated(JournalDamaged):
    """The journal lacks records that a signed head proves were there."""

    code = "journal.truncated"


class VisitUnknown(Misconfigured):
    """The journal tells of no such visit."""

    code = "visit.unknown"
    default_hint = "'pht station ls' lists them"


class NothingToDecide(Misconfigured):
    """The visit does not wait for this decision, or no longer."""

    code = "visit.nothing-to-decide"
    default_hint = "'pht station show' tells what the visit waits for"


class SpoolDamaged(Misconfigured):
    """A file in the spool is missing, or no longer has the digest it is named by."""

    code = "spool.damaged"
    default_hint = "restore the spool from a backup, or refuse the visit"


class PartsMissing(Unavailable):
    """Not everything that several stations send to this stop is here yet. The train waits for the rest."""

    code = "train.parts-missing"
    default_hint = "the train waits for the stations that are named: ask their operators if it takes long"


class KeysElsewhere(Misconfigured):
    """A train was made for a key set that the directory knows as this station's, and that is in none of its key folders."""

    code = "station.keys-elsewhere"
    default_hint = (
        "name the folder of those keys in station.yaml, as keys.folder or under keys.earlier; the train waits"
    )


class DaemonBehind(Misconfigured):
    """The daemon was started with a different station.yaml."""

    code = "station.daemon-behind"
    default_hint = "restart it: changes take effect only then"


class WorkroomNotWiped(Misconfigured):
    """Something in a workroom cannot be removed. Plaintext may be left."""

    code = "workroom.not-wiped"
    default_hint = "remove it by hand, and find out who put it there"


class CheckFailed(Misconfigured):
    """Something the station needs is missing."""

    code = "station.not-ready"
