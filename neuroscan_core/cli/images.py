"""Commands that make, segment, send and receive images without a node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuroscan_core.cli.console import ConfigFile, load


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (segment, phantom, send, archive):
        app.command()(command)


def segment(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder, or file for NIfTI; made where missing.")],
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of DICOM (a series, a study), a DICOM file, a NIfTI file, or a BraTS case's folder."
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="Model bundle; default: by the rules; for NIfTI the one that suits.")] = "",
    triage: Annotated[str, typer.Option(help="Classifier whose opinion goes into the report.")] = "",
    t1: Annotated[Path | None, typer.Option(help="NIfTI of the T1-weighted volume.")] = None,
    t1ce: Annotated[Path | None, typer.Option(help="NIfTI of the T1-weighted volume with contrast agent.")] = None,
    t2: Annotated[Path | None, typer.Option(help="NIfTI of the T2-weighted volume.")] = None,
    flair: Annotated[Path | None, typer.Option(help="NIfTI of the FLAIR volume.")] = None,
    config: ConfigFile = None,
) -> None:
    """Segment images that lie on disk: DICOM becomes DICOM SEG and SR, NIfTI becomes NIfTI.

    A model of several sequences finds them in a study by their attributes:

        neuroscan segment STUDY_FOLDER --model unet-brats -o results

        neuroscan segment --t1 a.nii.gz --t1ce b.nii.gz --t2 c.nii.gz --flair d.nii.gz --model unet-brats -o out.nii.gz
    """
    from dicom_gateway.offline import segment_path
    from dicom_gateway.offline_nifti import segment_sequences

    files = {"T1": t1, "T1ce": t1ce, "T2": t2, "FLAIR": flair}
    named = {sequence: path for sequence, path in files.items() if path is not None}
    if (source is None) == (not named):
        raise typer.BadParameter("Name a folder or file, or NIfTI files by --t1, --t1ce, --t2 and --flair.")
    if source is None:
        lines = segment_sequences(named, output, load(config), model=model or None, triage=triage or None)
    else:
        lines = segment_path(source, output, load(config), model=model or None, triage=triage or None)
    for line in lines:
        typer.echo(line)


def phantom(
    output: Annotated[Path, typer.Argument(help="Folder for the DICOM files; made where missing.")],
    study: Annotated[bool, typer.Option("--study", help="T1, T1ce, T2 and FLAIR on different grids.")] = False,
    slices: Annotated[int, typer.Option(min=10, max=400, help="Slices of the head.")] = 155,
    seed: Annotated[int, typer.Option(help="Another number makes another head.")] = 7,
) -> None:
    """Write a generated head with a tumour as DICOM, for trials: one FLAIR series, or a study of four."""
    from dicom_gateway.phantom_series import write_phantom_series, write_phantom_study
    from neuroscan_core.phantom import Weighting, head_phantom

    head = head_phantom(num_slices=slices, seed=seed)
    output.mkdir(parents=True, exist_ok=True)
    if not study:
        paths = write_phantom_series(output, head, Weighting.FLAIR)
        typer.echo(f"{output}: {len(paths)} images of FLAIR; the tumour has {head.tumour_ml:.1f} ml")
        return
    for weighting, paths in write_phantom_study(output, head).items():
        typer.echo(f"{output / weighting.value}: {len(paths)} images")
    typer.echo(f"The tumour has {head.tumour_ml:.1f} ml.")


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
    from neuroscan_core.process import stop_on_signals

    stopping = stop_on_signals()
    stored = Archive(directory, host=host, port=port, ae_title=ae_title, on_store=lambda _, path: typer.echo(str(path)))
    with stored:
        typer.echo(f"{ae_title} listens on {host}:{stored.port}; Ctrl-C ends it.")
        stopping.wait()
