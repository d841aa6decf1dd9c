"""Which patients lie in which hospital?

`split.py FOLDER` writes the 569 patients of the Wisconsin diagnostic data set (it comes with scikit-learn) as
`FOLDER/hospital-a/patients.csv` and so on: three hospitals of unequal size, the same patients in each every time.
"""

import csv
import sys
from pathlib import Path

from sklearn.datasets import load_breast_cancer

PATIENTS = {"hospital-a": 310, "hospital-b": 171, "hospital-c": 88}
STRIDE = 197
"""Walking through the patients in steps of this size meets each of them once, since their number is a prime."""


def main() -> None:
    """Write the three files."""
    bunch = load_breast_cancer()
    columns = [name.replace(" ", "_") for name in bunch.feature_names]
    rows = [
        [bunch.target_names[diagnosis], *map(repr, values)]
        for values, diagnosis in zip(bunch.data.tolist(), bunch.target.tolist(), strict=True)
    ]
    walk = iter(rows[at * STRIDE % len(rows)] for at in range(len(rows)))
    for hospital, patients in PATIENTS.items():
        folder = Path(sys.argv[1]) / hospital
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "patients.csv").open("w", encoding="ascii", newline="") as sink:
            lines = csv.writer(sink, lineterminator="\n")
            lines.writerow(["diagnosis", *columns])
            lines.writerows(next(walk) for _ in range(patients))


if __name__ == "__main__":
    main()
