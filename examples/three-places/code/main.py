"""What does one hospital add to the sums that travel?

For each sex the sums from which anybody computes the line of height on age: how many visits, and the sums of age, height, age squared,
height squared and age times height. `schema.json` beside the table says in which unit a hospital measures; another one is an error and
not a number. Runs in the base image `python`, with the standard library alone.
"""

import csv
import json
import math
import os
import pathlib
import sys

DATA = pathlib.Path(os.environ["PHT_DATA"]) / "visits"
STATE = pathlib.Path(os.environ["PHT_STATE"])

SEXES = ("f", "m")
SUMS = ("n", "x", "y", "xx", "yy", "xy")
UNITS = {"age": "a", "height": "cm"}


def need_units() -> None:
    """Add up nothing that is measured in another unit."""
    described = {one["name"]: one for one in json.loads((DATA / "schema.json").read_text())["columns"]}
    for name, unit in UNITS.items():
        if described[name].get("measure") != unit:
            sys.exit(f"the column '{name}' is not in the unit '{unit}'")


def main() -> None:
    need_units()
    kept = STATE / "sums.json"
    sums = json.loads(kept.read_text()) if kept.exists() else {sex: dict.fromkeys(SUMS, 0) for sex in SEXES}
    values = {sex: {name: [float(sums[sex][name])] for name in SUMS} for sex in SEXES}
    with (DATA / "table.csv").open(encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            x, y = float(row["age"]), float(row["height"])
            for name, value in zip(SUMS, (1.0, x, y, x * x, y * y, x * y), strict=True):
                values[row["sex"]][name].append(value)
    summed = {sex: {name: math.fsum(of[name]) for name in SUMS} for sex, of in values.items()}
    kept.write_text(json.dumps(summed))


if __name__ == "__main__":
    main()
