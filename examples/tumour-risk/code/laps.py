"""The same regression as a train that goes from hospital to hospital, lap after lap.

Each hospital adds its sums to those that came, and the last of a lap takes the step. So every hospital sees the sums of those
before it: that is what rounds are for. TRAIN_LAP says how many hospitals a lap has.
"""

import json
import os
import pathlib

from regression import NAMES, Model, Sums, columns, combine, contribute, patients_here


def added(one: Sums, other: Sums) -> Sums:
    """The sums over the patients of both."""
    return {
        "score": columns([one["score"], other["score"]]),
        "information": [columns(rows) for rows in zip(one["information"], other["information"], strict=True)],
        "deviance": columns([one["deviance"], other["deviance"]]),
    }


def main() -> None:
    """Be a hospital of a lap."""
    state = pathlib.Path(os.environ["PHT_STATE"])
    model: Model = {"coefficients": [0.0] * len(NAMES), "status": "moving", "rounds": 0}
    if (state / "model.json").exists():
        model = json.loads((state / "model.json").read_text())
    sums, hospitals = contribute(patients_here(), model["coefficients"]), 1
    if (state / "lap.json").exists():
        came = json.loads((state / "lap.json").read_text())
        sums, hospitals = added(came["sums"], sums), came["hospitals"] + 1
    if hospitals == int(os.environ["TRAIN_LAP"]):
        if model["status"] == "moving":
            model = combine(sums, model["coefficients"]) | {"rounds": model["rounds"] + 1}
        (state / "lap.json").unlink(missing_ok=True)
    else:
        (state / "lap.json").write_text(json.dumps({"hospitals": hospitals, "sums": sums}))
    (state / "model.json").write_text(json.dumps(model))


if __name__ == "__main__":
    main()
