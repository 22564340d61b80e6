"""The command `neuroscan demo`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(demo)


def demo(
    dicom: Annotated[Path | None, typer.Option(help="Folder of DICOM to send instead of the phantom.")] = None,
    pacs: Annotated[str, typer.Option(help="Receiver of the result: embedded or orthanc.")] = "embedded",
    slices: Annotated[int, typer.Option(min=10, max=400, help="Slices of the phantom.")] = 155,
    pace: Annotated[float, typer.Option(min=0.1, help="Images per second.")] = 25.0,
    output: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("build/demo"),
    hold: Annotated[bool, typer.Option("--hold", help="Keep the node running at the end, until Ctrl-C.")] = False,
) -> None:
    """Start a node and an archive, send a series at a scanner's pace, show what comes back."""
    from rich.console import Console

    from dicom_gateway.demo import DemoOptions, run_demo
    from neuroscan_core.config import LogConfig
    from neuroscan_core.log import configure_logging

    configure_logging(LogConfig(level="warning"), process="demo")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run_demo(DemoOptions(dicom, pacs, slices, pace, output, hold), Console())
