"""Are the numbers that came home the numbers that pooling the patients would have given?

`evaluate.py RESULTS` reads `RESULTS/sums.json`, which is all that left the hospitals, and computes each diagnosis' means and variances
and the linear discriminant from it, in exact fractions. Beside them it computes the same with numpy and scikit-learn from the rows of
all patients together. It prints both, and fails unless every number agrees to a relative 1e-10.
"""

import json
import math
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

AGREEMENT = 1e-10
DIAGNOSES = ("malignant", "benign")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the analysis was for. The discriminant is positive for benign: `intercept + weights · measurements`."""

    patients: list[int]
    means: list[list[float]]
    variances: list[list[float]]
    weights: list[float]
    intercept: float


def solve(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    """Solve a linear system by elimination. Exact, so no pivot is better than another; a covariance matrix has none that is zero."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for at, pivot in enumerate(rows):
        for row in rows[at + 1 :]:
            factor = row[at] / pivot[at]
            row[at:] = [value - factor * above for value, above in zip(row[at:], pivot[at:], strict=True)]
    solution: list[Fraction] = []
    for at in reversed(range(len(rows))):
        known = sum(value * found for value, found in zip(rows[at][at + 1 : -1], solution, strict=True))
        solution.insert(0, (rows[at][-1] - known) / rows[at][at])
    return solution


def from_sums(document: dict) -> Answer:
    """Compute the answer from what travelled."""
    size = len(document["features"])
    counts, means, scatters = [], [], []
    for diagnosis in DIAGNOSES:
        part = document["diagnoses"][diagnosis]
        count = part["patients"]
        sums = [Fraction(text) for text in part["sums"]]
        products = iter(part["products"])
        scatter = [[Fraction(0)] * size for _ in range(size)]
        for row in range(size):
            for column in range(row, size):
                scatter[row][column] = Fraction(next(products)) - sums[row] * sums[column] / count
                scatter[column][row] = scatter[row][column]
        counts.append(count)
        means.append([value / count for value in sums])
        scatters.append(scatter)
    # The pooled covariance divides by all patients, as scikit-learn's discriminant does.
    total = sum(counts)
    pooled = [
        [(left + right) / total for left, right in zip(*rows, strict=True)] for rows in zip(*scatters, strict=True)
    ]
    weights = solve(pooled, [benign - malignant for malignant, benign in zip(*means, strict=True)])
    middle = [(malignant + benign) / 2 for malignant, benign in zip(*means, strict=True)]
    threshold = sum(weight * value for weight, value in zip(weights, middle, strict=True))
    return Answer(
        patients=counts,
        means=[[float(value) for value in row] for row in means],
        variances=[
            [float(scatter[at][at] / (count - 1)) for at in range(size)]
            for count, scatter in zip(counts, scatters, strict=True)
        ],
        weights=[float(weight) for weight in weights],
        intercept=math.log(Fraction(counts[1], counts[0])) - float(threshold),
    )


def from_rows(rows: np.ndarray, diagnoses: np.ndarray) -> Answer:
    """Compute the answer from the patients themselves, by other means: floating point, rows, a library."""
    groups = [rows[diagnoses == at] for at in range(len(DIAGNOSES))]
    # The measurements are nearly collinear (radius, perimeter, area), which would cost the library five digits. The discriminant
    # does not depend on the coordinates, so it is fitted in ones where the covariance is the unit matrix, and carried back.
    centre = rows.mean(axis=0)
    scale = rows.std(axis=0)
    within = np.vstack([(group - group.mean(axis=0)) / scale for group in groups])
    triangle = np.linalg.qr(within / math.sqrt(len(rows)), mode="r")
    white = np.linalg.solve(triangle.T, ((rows - centre) / scale).T).T
    fitted = LinearDiscriminantAnalysis(solver="lsqr").fit(white, diagnoses)
    weights = np.linalg.solve(triangle, fitted.coef_[0]) / scale
    return Answer(
        patients=[len(group) for group in groups],
        means=[group.mean(axis=0).tolist() for group in groups],
        variances=[group.var(axis=0, ddof=1).tolist() for group in groups],
        weights=weights.tolist(),
        intercept=float(fitted.intercept_[0] - weights @ centre),
    )


def numbers(answer: Answer) -> list[float]:
    """List every number of an answer."""
    rows = [answer.patients, *answer.means, *answer.variances, answer.weights, [answer.intercept]]
    return [float(value) for row in rows for value in row]


def difference(left: float, right: float) -> float:
    """Return the relative difference of two numbers."""
    return abs(left - right) / max(abs(left), abs(right), sys.float_info.min)


def table(features: list[str], travelled: Answer, pooled: Answer) -> None:
    """Print the answer that travelled, and for each measurement how far any of its five numbers is from the pooled one."""
    print(f"{'':24}{'malignant':^24}{'benign':^24}{'discriminant':>14}{'difference':>14}")
    print(f"{'measurement':24}{'mean':>12}{'variance':>12}{'mean':>12}{'variance':>12}{'weight':>14}{'to pooled':>14}")
    for at, feature in enumerate(features):
        pairs = [
            (one[at], other[at])
            for one, other in zip(
                [*travelled.means, *travelled.variances, travelled.weights],
                [*pooled.means, *pooled.variances, pooled.weights],
                strict=True,
            )
        ]
        values = [
            travelled.means[0][at],
            travelled.variances[0][at],
            travelled.means[1][at],
            travelled.variances[1][at],
        ]
        worst = max(difference(*pair) for pair in pairs)
        print(
            f"{feature:24}"
            + "".join(f"{value:12.5g}" for value in values)
            + f"{travelled.weights[at]:14.6g}{worst:14.1e}"
        )
    print(f"{'intercept':72}{travelled.intercept:14.6g}{difference(travelled.intercept, pooled.intercept):14.1e}")


def main() -> None:
    """Compare, print, and say by the exit status whether they agree."""
    document = json.loads((Path(sys.argv[1]) / "sums.json").read_text(encoding="ascii"))
    bunch = load_breast_cancer()
    travelled = from_sums(document)
    pooled = from_rows(bunch.data, bunch.target)
    table(document["features"], travelled, pooled)
    right = int((((bunch.data @ travelled.weights + travelled.intercept) > 0) == bunch.target).sum())
    largest = max(difference(*pair) for pair in zip(numbers(travelled), numbers(pooled), strict=True))
    agree = largest <= AGREEMENT
    print()
    print(f"patients: {travelled.patients[0]} malignant, {travelled.patients[1]} benign")
    print(f"the discriminant puts {right} of {len(bunch.target)} patients on the right side")
    print(
        f"agree to {AGREEMENT:.0e}: {'yes' if agree else 'NO'} (largest difference {largest:.1e}, in {len(numbers(pooled))} numbers)"
    )
    sys.exit(not agree)


if __name__ == "__main__":
    main()
