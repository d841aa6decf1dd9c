"""What does one hospital add to the sums that travel, and are they still exact?

Per diagnosis: how many patients, the sum of each measurement, and the sum of the product of each pair of them. From these, and from
nothing else, the reader gets means, variances and the linear discriminant. Every number is a decimal number and stays one: an
operation that would have to round is an error, so neither the order of the hospitals nor the split between them can be seen in
the result. Standard library only; runs in the base image `python`.
"""

import csv
import decimal
import json
import os
import pathlib
import re
import sys

DATA = pathlib.Path(os.environ["PHT_DATA"])
STATE = pathlib.Path(os.environ["PHT_STATE"])
CONTEXT = pathlib.Path(os.environ["PHT_CONTEXT"])

OF = [
    *("radius", "texture", "perimeter", "area", "smoothness"),
    *("compactness", "concavity", "concave_points", "symmetry", "fractal_dimension"),
]
FEATURES = [f"mean_{of}" for of in OF] + [f"{of}_error" for of in OF] + [f"worst_{of}" for of in OF]
DIAGNOSES = ("malignant", "benign")

NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,8})?")
LEAST_PATIENTS = 10
"""Of each diagnosis in one hospital: the sums of fewer would say too much about each of them to the next hospital."""

EXACT = decimal.Context(
    prec=100, traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow, decimal.Subnormal]
)


def patients(folder: pathlib.Path) -> list[tuple[str, list[decimal.Decimal]]]:
    """Read every row of every file, refusing all of it if any row is not as described."""
    files = sorted(folder.glob("*.csv"))
    if not files:
        sys.exit("no CSV files in the data set")
    found = []
    for path in files:
        with path.open(encoding="ascii", newline="") as source:
            rows = csv.reader(source, strict=True)
            if next(rows, None) != ["diagnosis", *FEATURES]:
                sys.exit(f"{path.name}: the first line does not name the expected columns")
            for row in rows:
                if len(row) != 1 + len(FEATURES) or row[0] not in DIAGNOSES or not all(map(NUMBER.fullmatch, row[1:])):
                    sys.exit(
                        f"{path.name}: line {rows.line_num} is not a diagnosis and {len(FEATURES)} plain decimal numbers"
                    )
                found.append((row[0], [decimal.Decimal(text) for text in row[1:]]))
    for diagnosis in DIAGNOSES:
        if sum(one == diagnosis for one, _ in found) < LEAST_PATIENTS:
            sys.exit(f"fewer than {LEAST_PATIENTS} patients with a {diagnosis} tumour; their sums stay here")
    return found


def nothing() -> dict:
    """Return the sums over no patients."""
    pairs = len(FEATURES) * (len(FEATURES) + 1) // 2
    zero = decimal.Decimal(0)
    return {one: {"patients": 0, "sums": [zero] * len(FEATURES), "products": [zero] * pairs} for one in DIAGNOSES}


def received(path: pathlib.Path) -> dict:
    """Read what the stops before this one have added up. The station has checked it against the schema; its meaning is ours."""
    document = json.loads(path.read_text(encoding="ascii"))
    if document["features"] != FEATURES:
        sys.exit("the sums received are about other measurements")
    return {
        one: {
            "patients": part["patients"],
            "sums": [decimal.Decimal(text) for text in part["sums"]],
            "products": [decimal.Decimal(text) for text in part["products"]],
        }
        for one, part in document["diagnoses"].items()
    }


def add(total: dict, values: list[decimal.Decimal]) -> None:
    """Add one patient. Products are in the order (0,0), (0,1), … (0,29), (1,1), …: the upper triangle, row by row."""
    products = (EXACT.multiply(left, right) for at, left in enumerate(values) for right in values[at:])
    total["patients"] += 1
    total["sums"] = [EXACT.add(old, new) for old, new in zip(total["sums"], values, strict=True)]
    total["products"] = [EXACT.add(old, new) for old, new in zip(total["products"], products, strict=True)]


def spelled(value: decimal.Decimal) -> str:
    """Write a number in the one way that has no exponent and no zeros at the end."""
    return format(EXACT.normalize(value), "f")


def main() -> None:
    """Take what came, add this hospital, leave the sums."""
    context = json.loads(CONTEXT.read_text(encoding="utf-8"))
    state = STATE / "sums.json"
    if state.exists() != (context["stop"] > 0):
        sys.exit("sums must come with the train at every stop but the first")
    totals = received(state) if context["stop"] > 0 else nothing()
    for diagnosis, values in patients(DATA / "patients"):
        add(totals[diagnosis], values)
    diagnoses = {
        one: {
            "patients": total["patients"],
            "sums": [spelled(value) for value in total["sums"]],
            "products": [spelled(value) for value in total["products"]],
        }
        for one, total in totals.items()
    }
    state.write_text(json.dumps({"features": FEATURES, "diagnoses": diagnoses}), encoding="ascii")


if __name__ == "__main__":
    main()
