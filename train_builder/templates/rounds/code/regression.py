"""Logistic regression over all hospitals at once, by Fisher scoring.

At the coefficients b, a patient with covariates x has the outcome with probability p = 1 / (1 + exp(-b'x)). In each round
every hospital contributes three sums over its own patients, at the b of that round:

    the score        U = sum of (y - p) x
    the information  I = sum of p (1 - p) x x'
    the deviance     D = -2 log likelihood

The station masks them: nobody sees those of one hospital. The junction is given the totals, and takes the step from b to
b + U / I, until b stands still. That is the fit that all patients together would give. What is asked is in question.py.
Standard library only.
"""

import csv
import json
import math
import os
import pathlib
import sys
from collections.abc import Iterable, Sequence
from typing import NotRequired, TypedDict

from question import COVARIATES, LEAST_PATIENTS, OUTCOME

NAMES = ["intercept", *COVARIATES]
STILL = 1e-7
"""Where no coefficient moves by more, the next step would be of the size of this one's square."""
OWN = 1e-9
"""A covariate that is less than this its own can be told from those before it."""
FORETOLD = 1e-6
"""Deviance of a patient: with less, the outcome is foretold without error, and the coefficients would grow for ever."""

Numbers = list[float]
Patient = tuple[bool, Numbers]
"""Whether they have the outcome (y), and 1 and the covariates (x)."""


class Sums(TypedDict):
    """Of one hospital, or of all of them. Each is a file, and an array for which train.yaml declares a shape."""

    score: Numbers
    information: list[Numbers]
    deviance: Numbers
    """And the number of patients."""


class Model(TypedDict):
    """What is known after a round. Deviance and standard errors are those at the coefficients before its step."""

    coefficients: Numbers
    standard_errors: NotRequired[Numbers]
    deviance: NotRequired[float]
    patients: NotRequired[int]
    rounds: NotRequired[int]
    status: NotRequired[str]
    redundant: NotRequired[str]


# --- The statistics ---------------------------------------------------------------------------------------------------


def contribute(patients: Sequence[Patient], coefficients: Numbers) -> Sums:
    """One hospital's part of a round."""
    scores, informations, deviances = [], [], []
    for y, x in patients:
        logit = dot(coefficients, x)
        p = (1 + math.tanh(logit / 2)) / 2
        scores.append([(y - p) * one for one in x])
        informations.append([p * (1 - p) * left * right for left in x for right in x])
        against = -logit if y else logit
        deviances.append(2 * (max(against, 0) + math.log1p(math.exp(-abs(against)))))
    size, information = len(NAMES), columns(informations)
    return {
        "score": columns(scores),
        "information": [information[at : at + size] for at in range(0, size * size, size)],
        "deviance": [math.fsum(deviances), len(patients)],
    }


def combine(total: Sums, coefficients: Numbers) -> Model:
    """Take the step of a round from the sums over all hospitals, and say what became of the fit."""
    deviance, patients = total["deviance"]
    model: Model = {"coefficients": coefficients, "deviance": deviance, "patients": round(patients)}
    try:
        triangle = cholesky(total["information"])
    except LookupError as error:
        return {**model, "status": "redundant", "redundant": str(error.args[0])}
    step = solve(triangle, total["score"])
    unit = [[float(row == column) for column in range(len(NAMES))] for row in range(len(NAMES))]
    model["coefficients"] = [old + change for old, change in zip(coefficients, step, strict=True)]
    model["standard_errors"] = [math.sqrt(solve(triangle, unit[at])[at]) for at in range(len(NAMES))]
    if deviance < FORETOLD * patients:
        return {**model, "status": "separated"}
    return {**model, "status": "fitted" if max(map(abs, step)) < STILL else "moving"}


def cholesky(matrix: list[Numbers]) -> list[Numbers]:
    """Return the lower triangle L of a matrix L L'.

    Raises:
        LookupError: a covariate, by its name, is a combination of those before it: the data cannot tell its coefficient.
    """
    triangle: list[Numbers] = []
    for at, row in enumerate(matrix):
        made: Numbers = []
        for column, above in enumerate(triangle):
            made.append((row[column] - dot(made, above[:column])) / above[column])
        own = row[at] - dot(made, made)
        if own <= OWN * row[at]:
            raise LookupError(NAMES[at])
        triangle.append([*made, math.sqrt(own)])
    return triangle


def solve(triangle: list[Numbers], right: Numbers) -> Numbers:
    """Return x where L L' x is the right side."""
    forward: Numbers = []
    for at, row in enumerate(triangle):
        forward.append((right[at] - dot(forward, row[:at])) / row[at])
    back: Numbers = []
    for at in reversed(range(len(triangle))):
        below = [row[at] for row in triangle[at + 1 :]]
        back.insert(0, (forward[at] - dot(below, back)) / triangle[at][at])
    return back


def dot(left: Numbers, right: Numbers) -> float:
    """Return the sum of products."""
    return math.fsum(one * other for one, other in zip(left, right, strict=True))


def columns(rows: Iterable[Numbers]) -> Numbers:
    """Return the sum of each column."""
    return [math.fsum(column) for column in zip(*rows, strict=True)]


# --- What comes and goes ----------------------------------------------------------------------------------------------
#
# PHT_DATA/patients holds this hospital's files; PHT_IN/<junction> what the round before came to, PHT_IN/sum the totals of this
# one; PHT_STATE is what goes on, and PHT_KEEP what stays here for the same task of the next round.


def patients_here() -> list[Patient]:
    """Read every patient of this hospital. Whose covariates are not all known is left out."""
    found: list[Patient] = []
    for path in sorted((pathlib.Path(os.environ["PHT_DATA"]) / "patients").glob("*.csv")):
        with path.open(newline="") as source:
            for row in csv.DictReader(source):
                try:
                    x = [(float(row[name]) - centre) / unit for name, (centre, unit) in COVARIATES.items()]
                except ValueError:
                    continue
                if all(map(math.isfinite, x)):
                    found.append((row[OUTCOME[0]] == OUTCOME[1], [1.0, *x]))
    if len(found) < LEAST_PATIENTS:
        sys.exit(f"fewer than {LEAST_PATIENTS} patients: their sums would say too much about each of them")
    return found


def main() -> None:
    """Be a hospital that contributes to a round, or the junction that combines it."""
    context = json.loads(pathlib.Path(os.environ["PHT_CONTEXT"]).read_text())
    incoming, state, keep = (pathlib.Path(os.environ[name]) for name in ("PHT_IN", "PHT_STATE", "PHT_KEEP"))
    model: Model = {"coefficients": [0.0] * len(NAMES)}
    if sys.argv[1] == "contribute":
        if context["round"] > 0:
            model = json.loads((incoming / context["junction"] / "model.json").read_text())
        for name, numbers in contribute(patients_here(), model["coefficients"]).items():
            (state / f"{name}.json").write_text(json.dumps(numbers))
        return
    if context["round"] > 0:
        model = json.loads((keep / "model.json").read_text())
    total: Sums = {
        "score": json.loads((incoming / "sum" / "score.json").read_text()),
        "information": json.loads((incoming / "sum" / "information.json").read_text()),
        "deviance": json.loads((incoming / "sum" / "deviance.json").read_text()),
    }
    model = combine(total, model["coefficients"])
    model["rounds"] = context["round"] + 1
    for folder in (state, keep):
        (folder / "model.json").write_text(json.dumps(model))
    if model["status"] != "moving":
        (state / "finished").touch()  # the train goes home


if __name__ == "__main__":
    main()
