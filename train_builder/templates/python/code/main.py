"""How many patients are there, and how old are they on average? One hospital adds its sums to those that travel.

PHT_DATA/<name> (/pht/data/<name> at a station) holds the hospital's files, PHT_STATE (/pht/state) what the hospital
before left there, and what is in it at the end goes on. Nothing of a single patient may be in it: sums over many only.
"""

import csv
import json
import math
import os
import pathlib
import sys

sys.path.insert(0, "vendor")  # name packages in a requirements.txt beside this file, and they travel along in vendor/

DATA = pathlib.Path(os.environ["PHT_DATA"])
SUMMARY = pathlib.Path(os.environ["PHT_STATE"]) / "summary.json"
LEAST_PATIENTS = 5


def whole_years(text: str | None) -> int | None:
    """Return the whole years of 63, 63.0 or 63.5; None if there is no number, as in NA."""
    try:
        age = float(text or "")
    except ValueError:
        return None
    return int(age) if math.isfinite(age) else None


summary = json.loads(SUMMARY.read_text()) if SUMMARY.exists() else {"patients": 0, "years": 0}
ages = []
for path in sorted((DATA / "patients").glob("*.csv")):
    with path.open(newline="") as source:
        known = (whole_years(row["age"]) for row in csv.DictReader(source))
        ages += [age for age in known if age is not None]
if len(ages) < LEAST_PATIENTS:
    sys.exit(f"fewer than {LEAST_PATIENTS} patients: their sum would say too much about each of them")
summary["patients"] += len(ages)
summary["years"] += sum(ages)
SUMMARY.write_text(json.dumps(summary))
