"""The command that the viewer runs to see what another model finds in a case that is open; not for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from neuroscan_core.cli.console import ConfigFile, load


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("segment-case", hidden=True)(segment_case)


def segment_case(
    folder: Annotated[Path, typer.Argument(help="Folder of a case with its volume.")],
    model: Annotated[str, typer.Argument(help="Name of the bundle.")],
    config: ConfigFile = None,
) -> None:
    """Segment the volume of a case folder; says in JSON lines how far it is, and at last with what or why not."""
    from contextlib import closing

    from neuroscan_core.diagnosis.predict import segment_with
    from neuroscan_core.diagnosis.views import IDENTITY
    from neuroscan_core.domain.errors import NeuroScanError
    from neuroscan_core.inference.bundle import find_bundles
    from neuroscan_core.pipeline.study import bring_together
    from neuroscan_core.viewer.cases.compare import SEGMENTATION
    from neuroscan_core.viewer.cases.folder import CaseFolder

    node, case = load(config), CaseFolder(folder)

    def progress(done: int, of: int) -> None:
        typer.echo(json.dumps({"progress": round(done / max(of, 1), 3)}))

    try:
        bundles = find_bundles(node.segmenter.models_dir)
        if model not in bundles:
            raise typer.BadParameter(f"there is no model {model}", param_hint="MODEL")
        # One thread: the others belong to the series that are arriving.
        settings = node.segmenter.model_copy(update={"threads": 1})
        with closing(bundles[model].open_engine(settings)) as engine:
            volumes = case.read_sources()
            study = bring_together(volumes, next(iter(volumes)), channels=engine.card.channels) if volumes else None
            found = segment_with(engine, case.read_volume(), study, (IDENTITY,), progress)
    except NeuroScanError as error:
        typer.echo(json.dumps({"error": error.message, "remedy": error.remedy}))
        raise typer.Exit(1) from error
    case.write_segmentation(SEGMENTATION, found.segmentation, found.identity, found.card, found.probability_kji)
    typer.echo(json.dumps({"engine": found.identity.engine}))
