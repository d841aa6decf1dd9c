"""What can a scientist do from the command line?"""

from __future__ import annotations

import click

from console.lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    members={
        "setup": "train_builder.cli.setup:train_setup",
        "stations": "train_builder.cli.departure:train_stations",
        "init": "train_builder.cli.begin:train_init",
        "check": "train_builder.cli.departure:train_check",
        "submit": "train_builder.cli.departure:train_submit",
        "ls": "train_builder.cli.trains:train_ls",
        "follow": "train_builder.cli.journey:train_follow",
        "open": "train_builder.cli.journey:train_open",
        "verify": "train_builder.cli.journey:train_verify",
        "inspect": "train_builder.cli.journey:train_inspect",
        "recall": "train_builder.cli.recall:train_recall",
        "forget": "train_builder.cli.forget:train_forget",
    },
)
def train() -> None:
    """Build a train, send it, follow it, and open what it brings home.

    \b
    pht train setup ~/.pht --party alice --registry https://registry.example.org --root root.json
    pht keys new ~/.pht/keys --party alice --role owner
    pht train stations                              where a train can go
    pht train init my-train --route hospital-a,hospital-b
    pht train check my-train
    pht train submit my-train
    pht train follow --watch
    pht train open latest results
    pht train verify latest --export journey        files and commands for a check without this software
    """
