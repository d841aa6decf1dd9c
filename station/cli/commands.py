"""What can a station's operator do from the command line?"""

from __future__ import annotations

import click

from console.lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    members={
        "init": "station.cli.setup:station_init",
        "check": "station.cli.check:station_check",
        "run": "station.cli.run:station_run",
        "once": "station.cli.run:station_once",
        "unit": "station.cli.unit:station_unit_command",
        "data": "station.cli.data:station_data",
        "ls": "station.cli.visits:station_ls",
        "show": "station.cli.show:station_show",
        "approve": "station.cli.decide:station_approve",
        "refuse": "station.cli.decide:station_refuse",
        "answer": "station.cli.answer:station_answer",
        "audit": "station.cli.audit:audit",
        "sweep": "station.cli.sweep:station_sweep",
    },
)
def station() -> None:
    """Run a hospital's station.

    \b
    pht station init /srv/pht --party hospital-a --registry https://registry.example
        --root-fingerprint "…" --data patients=/srv/data/patients --admit-owner alice
    pht station check /srv/pht           every line ok, or what to do
    pht station run /srv/pht             the daemon

    All commands work on the station in this folder, or the one PHT_STATION names.

    \b
    pht station ls                       trains that are here, and the newest that were
    pht station show TRAIN --code        what a train is, wants, and will leave behind
    pht station approve TRAIN            or: refuse TRAIN --reason "…"
    pht station answer TRAIN --text "…"  tell its owner more about why it ended here
    """
