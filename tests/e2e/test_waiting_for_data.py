"""An operator sees which train waits for data, and for which of them: in the list, in its sheet, and in the log."""

from __future__ import annotations

import pytest

from station.house.lock import holding
from tests.support.desk import HOME, STATION_SPEC, WITH, Desk, edit
from tests.support.owners import write_train

AT = ("-s", "hospital-a")
SPEC = (
    STATION_SPEC + 'data:\n  - {name: patients, description: ages, files: ["*.csv", "heart.parquet", "more/*.csv"]}\n'
)


def sent(desk: Desk) -> str:
    """Send a train that asks for more than the data set has; it is admitted if it has it all."""
    edit(desk.path / "hospital-a" / "station.yaml", "approve: by-hand", "approve: automatic")
    write_train(desk.path / "other", SPEC)
    return str(desk.answer("train", "submit", "other", *HOME, *WITH)["train"])


def waits(desk: Desk, train: str) -> str:
    """What the list, the sheet, and a program are told that the train waits for: the same."""
    (told,) = (one["next"] for one in desk.answer("station", "ls", "hospital-a")["visits"] if one["train"] == train)
    assert told in desk.pht("station", "ls", "hospital-a").out
    sheet = desk.pht("station", "show", train, *AT).out
    assert f"next: {told}" in sheet
    assert desk.answer("station", "show", train, *AT)["next"] == told
    return str(told)


def logged(caplog: pytest.LogCaptureFixture, event: str) -> set[tuple[object, ...]]:
    """The step, code and reason of what was recorded."""
    told = (vars(one) for one in caplog.records)
    return {(one["step"], one["code"], one["reason"]) for one in told if one.get("event") == event}


def test_files_that_a_data_set_lacks_are_named(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    train = sent(desk)
    desk.pht("station", "once", "hospital-a", *WITH)
    lacking = "files that the train expects are missing: patients/heart.parquet, patients/more/*.csv"
    assert logged(caplog, "held") == {("admit", None, lacking)}
    assert waits(desk, train) == f"a person, for admission: {lacking}"


def test_a_data_set_that_is_not_there_is_named_whether_or_not_a_daemon_works(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    (desk.path / "data").rename(desk.path / "elsewhere")
    train = sent(desk)
    desk.pht("station", "once", "hospital-a", *WITH)
    reason = f"the folder of a data set is not there (data=patients, folder={desk.path}/data)"
    assert logged(caplog, "stumbled") == {("admit", "data.unavailable", reason)}
    why = f"{reason} (data.unavailable)"
    assert waits(desk, train) == f"nothing, for no daemon works here: pht station run; it waited: {why}"
    with holding(desk.path / "hospital-a" / "state"):
        assert waits(desk, train).startswith("again at 2")
        assert waits(desk, train).endswith(f"Z: {why}")
