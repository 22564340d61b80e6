"""Puts the commands together and shows errors to people."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from neuroscan_core import __version__
from neuroscan_core.cli import case, configuration, demo, diagnose, images, journal, node

app = typer.Typer(
    name="neuroscan",
    help="Edge node beside an MR scanner: segments brain tumour while the series arrives. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (node, images, diagnose, journal, configuration, demo, case):
    module.register(app)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"neuroscan {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command."""


def run() -> None:
    """Run one command; an error that NeuroScan raised on purpose is shown without a traceback."""
    from neuroscan_core.config import LogConfig
    from neuroscan_core.domain.errors import ConfigurationError, EngineUnreachable, ModelError, NeuroScanError
    from neuroscan_core.log import configure_logging
    from neuroscan_core.supervise import EXIT_UNUSABLE

    configure_logging(LogConfig(level="warning"), process="command")  # those of the node say otherwise
    try:
        app()
    except NeuroScanError as exc:
        typer.echo(f"neuroscan: {exc.message}", err=True)
        if exc.remedy:
            typer.echo(f"  What to do: {exc.remedy}", err=True)
        # A server may come back; what waits for it is to be started again, not the whole node given up.
        is_unusable = isinstance(exc, ConfigurationError | ModelError) and not isinstance(exc, EngineUnreachable)
        sys.exit(EXIT_UNUSABLE if is_unusable and node.is_supervised() else 1)
    except BrokenPipeError:
        sys.exit(1)  # the reader of our output has gone; there is nobody to tell
