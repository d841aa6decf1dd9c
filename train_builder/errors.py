"""Which errors does the owner's side raise beyond those of ``security`` and ``registry``?

Where they stand in the tree, and so who must act, is told in `security.errors`.
"""

from __future__ import annotations

from security.errors import Misconfigured, Refused, TrainFault, Unavailable

# --- Refused: a station did not let the train pass -------------------------------------------------------------------


class TrainRefused(Refused):
    """A station refused the train, or its outputs, and signed that it did. The train will not come home."""

    code = "train.refused"
    default_hint = "ask the station's operator for the reason, which stays there; then send a new train"


# --- Unavailable -----------------------------------------------------------------------------------------------------


class NotHomeYet(Unavailable):
    """The train is still under way."""

    code = "train.not-home"
    default_hint = "'pht train follow' tells where it is"


# --- TrainFault ------------------------------------------------------------------------------------------------------


class TrainFailed(TrainFault):
    """The analysis ended with an error, or went over a limit, at a station that signed that it did."""

    code = "train.failed"
    default_hint = "'pht train rehearse' runs the same analysis on your own samples and shows its output"


# --- Misconfigured ---------------------------------------------------------------------------------------------------


class SpecInvalid(Misconfigured):
    """The train.yaml is not valid. The error names the line and the field."""

    code = "spec.invalid"
    default_hint = "correct the file, then: pht train check"


class SourcesRejected(Misconfigured):
    """The code folder holds something that cannot travel: a link, a device, an unusual name, too much data."""

    code = "sources.rejected"
    default_hint = "take it out of the code folder"


class PreflightFailed(Misconfigured):
    """The check before departure found something that must be fixed, or allowed, first."""

    code = "train.preflight"
    default_hint = "'pht train check' shows every finding"


class TrainAlreadySent(Misconfigured):
    """This very train, unchanged, was sent before, and has come home or may still do so. A second one would run again."""

    code = "train.already-sent"
    default_hint = "to send a second one all the same: --again"


class WheelsUnresolved(Misconfigured):
    """The requirements.txt cannot be met with wheels for the base image's Python, or the package index cannot be reached."""

    code = "wheels.unresolved"
    default_hint = "only ready-made wheels can travel: check the names and versions in requirements.txt, and --python and --machine"


class HomeInvalid(Misconfigured):
    """The owner's home folder is not set up, or its settings are not valid."""

    code = "home.invalid"
    default_hint = "name another with --home or PHT_HOME, or make one with 'pht train setup'"


class TrainNotHere(Misconfigured):
    """The owner's home folder and mailbox know no such train, or more than one that begins like this."""

    code = "train.not-here"
    default_hint = "'pht train ls' lists the trains"


class TrainNotOver(Misconfigured):
    """A train cannot be forgotten yet: it may still run at a station, or its results were never opened."""

    code = "train.not-over"
    default_hint = "'pht train follow' tells where it is"


class TrainForgotten(Misconfigured):
    """The sealed results of this train were removed with 'pht train forget'."""

    code = "train.forgotten"
    default_hint = "what was opened before is where it was opened to; 'pht train verify' still proves the journey"


class FolderNotEmpty(Misconfigured):
    """The folder to write to exists and is not empty."""

    code = "folder.not-empty"
    default_hint = "name a new folder: nothing is ever added to an existing one"
