"""Commands that segment, send and receive images without a node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuroscan_core.cli.console import ConfigFile, load


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (segment, send, archive):
        app.command()(command)


def segment(
    source: Annotated[Path, typer.Argument(help="Folder of DICOM files, one DICOM file, or a NIfTI file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder, or file for NIfTI; made where missing.")],
    model: Annotated[str, typer.Option(help="Model bundle; default: what the rules choose.")] = "",
    config: ConfigFile = None,
) -> None:
    """Segment images that lie on disk: DICOM becomes DICOM SEG and SR, NIfTI becomes NIfTI."""
    from dicom_gateway.offline import segment_path

    for line in segment_path(source, output, load(config), model=model or None):
        typer.echo(line)


def send(
    source: Annotated[Path, typer.Argument(help="DICOM file, or folder of them.")],
    host: Annotated[str, typer.Argument(help="Address of the receiver.")],
    port: Annotated[int, typer.Argument(help="Port of the receiver.")],
    called_ae: Annotated[str, typer.Option(help="AE title of the receiver.")] = "ANY-SCP",
    calling_ae: Annotated[str, typer.Option(help="AE title that the sender shows.")] = "NEUROSCAN-SEND",
    pace: Annotated[float, typer.Option(help="Images per second; 0: as fast as possible.")] = 0.0,
) -> None:
    """Send DICOM files over one association, as a scanner would; the exit status is 1 if one was not taken."""
    from rich.progress import Progress

    from dicom_gateway.send import send_folder

    with Progress(transient=True) as progress:
        bar = progress.add_task("Sending", total=None)
        report = send_folder(
            source,
            host,
            port,
            ae_title=called_ae,
            calling_ae_title=calling_ae,
            images_per_s=pace or None,
            progress=lambda done: progress.update(bar, completed=done.num_done, total=done.num_total),
        )
    for path, why in report.failures:
        typer.echo(f"! {path}: {why}", err=True)
    typer.echo(
        f"{report.num_sent} objects, {report.num_bytes / 1e6:.1f} MB in {report.elapsed_s:.2f} s "
        f"({report.num_sent / max(report.elapsed_s, 1e-9):.1f} per second); "
        f"{len(report.failures)} failed, {len(report.skipped)} files are not DICOM."
    )
    raise typer.Exit(1 if report.failures else 0)


def archive(
    directory: Annotated[Path, typer.Argument(help="Folder for what is received.")],
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 11113,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    ae_title: Annotated[str, typer.Option(help="AE title.")] = "ARCHIVE",
) -> None:
    """Run a small archive for trials: takes what it is sent, commits to it, keeps it as files."""
    from dicom_gateway.archive import Archive
    from neuroscan_core.cli.node import stop_on_signals

    stopping = stop_on_signals()
    stored = Archive(directory, host=host, port=port, ae_title=ae_title, on_store=lambda _, path: typer.echo(str(path)))
    with stored:
        typer.echo(f"{ae_title} listens on {host}:{stored.port}; Ctrl-C ends it.")
        stopping.wait()
