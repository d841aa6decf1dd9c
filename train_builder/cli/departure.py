"""How is a train checked and sent, on the command line?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from console.progress import showing, working
from console.prompts import clock, passphrase_option, unlocked
from security.directory.trust import TrustStore
from train_builder.build.submit import submit
from train_builder.cli.options import PATH, allow_option, home_if_any, home_option, target_options
from train_builder.cli.render import (
    render_checked,
    render_destinations,
    render_problems,
    render_submitted,
)
from train_builder.code.wheels import Target
from train_builder.desk.check import Checked, check_folder
from train_builder.desk.destinations import bases, destinations
from train_builder.desk.reach import depot_of, trust_of
from train_builder.home import open_home


@click.command("stations")
@home_option
def train_stations(*, home_path: Path) -> Answer:
    """List where a train can go, and on which base images, as the directory says now."""
    now = clock.now()
    trust = trust_of(open_home(home_path), now)
    return render_destinations(destinations(trust, now), bases(trust))


@click.command("check")
@click.argument("folder", type=PATH)
@home_option
@allow_option
@target_options
@click.option("--offline", is_flag=True, help="Ask nobody: neither the directory nor a package index.")
def train_check(
    *, folder: Path, home_path: Path, allow: tuple[str, ...], python_version: str, machine: str, offline: bool
) -> Answer:
    """Check the train in FOLDER before departure: its train.yaml, its code and what that imports, its outputs.

    Python sources are compiled, not run. What is found in the code may be data, a secret, or an import that nothing
    brings; in train.yaml, what nobody filled in, and outputs that no gate lets pass without a person.
    """
    now = clock.now()

    def trust() -> TrustStore | None:
        home = None if offline else home_if_any(home_path)
        return None if home is None else trust_of(home, now)

    target = Target(python=python_version, machine=machine)
    found = check_folder(folder, trust, now=now, allow=allow, target=target, offline=offline, working=working)
    if not isinstance(found, Checked):
        return render_problems(folder, found)
    return render_checked(found, "--offline" if offline else f"{home_path} is not set up; 'pht train setup' does it")


@click.command("submit")
@click.argument("folder", type=PATH)
@home_option
@allow_option
@target_options
@click.option("--again", is_flag=True, help="Send a second train from a folder that has not changed since the first.")
@passphrase_option
def train_submit(
    *,
    folder: Path,
    home_path: Path,
    allow: tuple[str, ...],
    python_version: str,
    machine: str,
    again: bool,
    passphrase_file: Path | None,
) -> Answer:
    """Check, sign and seal the train in FOLDER and send it to its first station.

    Run again after a failure, it sends the train it had made, not a second one; a second one takes --again. A requirements.txt in the code folder is
    resolved to wheels, which travel in vendor/ of the code.
    """
    home, now = open_home(home_path), clock.now()
    with showing("sending") as carried:
        sent = submit(
            folder,
            home,
            depot=depot_of(home),
            trust=trust_of(home, now),
            unlock=lambda: unlocked(home.keys, str(home.keys), passphrase_file),
            now=now,
            allow=allow,
            target=Target(python=python_version, machine=machine),
            again=again,
            progress=carried,
            working=working,
        )
    return render_submitted(sent)
