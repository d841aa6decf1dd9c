"""How does an operator see a train: what it is, its code, what it printed, what waits for release?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from console.prompts import clock, passphrase_option
from station.cli.complete import complete_train
from station.cli.options import PATH, by_option, person, station_option, unlocker
from station.cli.render_train import render_inside, render_output, render_train
from station.desk.inside import code_of, output_of, results_of, sheet_of
from station.desk.opening import station_at
from station.house.lock import held


@click.command("show")
@click.argument("train", shell_complete=complete_train)
@station_option
@click.option(
    "--code", is_flag=False, flag_value="", default=None, metavar="[FILE]", help="List the code, or print FILE."
)
@click.option(
    "--output", is_flag=True, help="Print what the run printed: while it runs, or if it did not pass. It may hold data."
)
@click.option(
    "--results",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[FILE]",
    help="List what waits for release, or print FILE.",
)
@click.option("--into", type=PATH, help="With --code: write all of it to this new folder, to be read there.")
@by_option
@passphrase_option
def station_show(
    *,
    train: str,
    folder: Path,
    code: str | None,
    output: bool,
    results: str | None,
    into: Path | None,
    by: str | None,
    passphrase_file: Path | None,
) -> Answer:
    """Show what TRAIN (the first digits of its id, or of its visit's) is, wants, and will leave behind.

    What is shown is shown whole. Characters that cannot be seen are shown by their numbers, «U+001B», and long runs of
    blanks are counted. 'analysis' is the digest of everything an approval covers; 'known_analyses' in station.yaml lists it.

    --code and --output open what is sealed for this station; the journal keeps that they did, and for whom.
    """
    if into is not None and code is None:
        msg = "--into goes with --code"
        raise click.UsageError(msg)
    config, now = station_at(folder), clock.now()
    unlock = unlocker(config, passphrase_file)
    if results is not None:
        return render_inside(results_of(config, train, wanted=results or None), results)
    if output:
        return render_output(output_of(config, train, by=person(by), unlock=unlock, now=now))
    if code is None:
        return render_train(sheet_of(config, train), None, now, worked=held(config.folder))
    sheet, inside = code_of(config, train, wanted=code or None, by=person(by), unlock=unlock, now=now, copy=into)
    return (
        render_train(sheet, inside, now, worked=held(config.folder))
        if inside.text is None
        else render_inside(inside, code)
    )
