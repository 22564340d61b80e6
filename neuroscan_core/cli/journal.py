"""Commands that read the journal, or change what it says of deliveries."""

from __future__ import annotations

from typing import Annotated

import typer

from neuroscan_core.cli.console import ConfigFile, load, show_table, show_time


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(results)
    app.command()(retry)


def results(
    config: ConfigFile = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only deliveries that were given up.")] = False,
) -> None:
    """List results and their deliveries, dead letters included."""
    from dicom_gateway.deliveries import open_journal, outstanding, undeliverable

    node = load(config)
    with open_journal(node) as journal:
        rows = [
            (
                entry.result.kind,
                entry.result.sop_uid,
                entry.destination,
                entry.state.value,
                entry.attempts,
                show_time(entry.delivered_at_s),
                entry.last_error or entry.result.summary,
            )
            for entry in (undeliverable(journal) if dead else journal.deliveries())
        ]
        without = [] if dead else outstanding(journal)
    show_table("Deliveries", ("Kind", "SOP Instance UID", "To", "State", "Attempts", "Delivered", "Note"), rows)
    for result in without:
        typer.echo(f"{result.kind} {node.results_dir / result.path}: no destination wants it. {result.summary}")


def retry(
    selector: Annotated[str, typer.Argument(help="Destination, series UID or SOP Instance UID; 'all'.")] = "all",
    config: ConfigFile = None,
) -> None:
    """Send dead letters again and segment failed series again; a node that does not run does so when it starts."""
    from time import time

    from dicom_gateway import deliveries

    with deliveries.open_journal(load(config)) as journal:
        retried = deliveries.retry(journal, selector, now_s=time())
    if not (retried.num_deliveries or retried.num_series):
        typer.echo("Nothing that matches was given up or waits.")
        return
    typer.echo(f"{retried.num_deliveries} deliveries are due, {retried.num_series} series are segmented again.")
