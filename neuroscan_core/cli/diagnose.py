"""The command `neuroscan diagnose`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuroscan_core.cli.console import ConfigFile, load

if TYPE_CHECKING:
    from neuroscan_core.config import NodeConfig
    from neuroscan_core.diagnosis.agent import AgentRecord
    from neuroscan_core.diagnosis.case import CaseFile
    from neuroscan_core.diagnosis.chain import Listener
    from neuroscan_core.diagnosis.progress import JsonProgress, ShownProgress

EXIT_NOT_USABLE = 3  # a report was written, and it says that the result must not be used
EXIT_NO_REPORT = 1


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(diagnose)


def diagnose(
    source: Annotated[
        Path, typer.Argument(help="DICOM file or folder, NIfTI file, folder of a BraTS case, PNG or JPEG, or a stack.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the report; made where missing.")],
    models: Annotated[
        str, typer.Option(help="Segmenters, comma-separated, the one to report first in front; default: all that suit.")
    ] = "",
    triage: Annotated[str | None, typer.Option(help="Classifier; empty: none; default: by the configuration.")] = None,
    tta: Annotated[
        bool, typer.Option("--tta", help="Show the networks mirrored images, too: three times the time.")
    ] = False,
    identity: Annotated[bool, typer.Option("--identity", help="Name the patient in the report.")] = False,
    progress_json: Annotated[
        bool, typer.Option("--progress-json", help="Write progress to standard output, one JSON object a line.")
    ] = False,
    case: Annotated[bool, typer.Option("--case", hidden=True, help="Write the folder as the viewer reads it.")] = False,
    config: ConfigFile = None,
) -> None:
    """Let a chain of agents look at images: read, triage, segment, measure, criticise, report.

    Nothing leaves this machine, and nothing is a diagnosis: research use only. The folder then holds report.html,
    report.pdf, report.json and, for DICOM, SEG and SR of every model; for NIfTI, label maps.

        neuroscan diagnose STUDY_FOLDER -o report

        neuroscan diagnose flair.nii.gz -o report --tta

    The exit status is 0 for a report, 3 for a report that says the result must not be used, 1 where nothing could be
    read or written, and 2 for a wrong command.
    """
    from neuroscan_core.diagnosis.chain import ChainStopped
    from neuroscan_core.diagnosis.progress import JsonProgress, ShownProgress
    from neuroscan_core.domain.errors import NeuroScanError

    shown: JsonProgress | ShownProgress = JsonProgress() if progress_json else ShownProgress()
    try:
        _diagnose(source, output, load(config), models, triage, shown, tta=tta, identity=identity, is_case=case)
    except NeuroScanError as exc:
        shown.fail(exc)
        raise
    except ChainStopped:
        raise typer.Exit(EXIT_NO_REPORT) from None


def _diagnose(
    source: Path,
    output: Path,
    node: NodeConfig,
    models: str,
    triage: str | None,
    shown: JsonProgress | ShownProgress,
    *,
    tta: bool,
    identity: bool,
    is_case: bool,
) -> None:
    from neuroscan_core.cli.diagnosis_parts import agents_for, check_names
    from neuroscan_core.diagnosis.case import CaseFile, Options
    from neuroscan_core.diagnosis.chain import run_chain
    from neuroscan_core.domain.errors import ConfigurationError
    from neuroscan_core.inference.bundle import find_bundles

    if not source.exists():
        raise ConfigurationError(f"{source} does not exist.", remedy="Check the path.")
    settings = node.viewer.diagnose
    wanted = tuple(dict.fromkeys(name.strip() for name in models.split(",") if name.strip())) or settings.models
    classifier = (settings.triage or "") if triage is None else triage
    bundles = find_bundles(node.segmenter.models_dir)
    check_names(bundles, wanted, classifier)
    agents = agents_for(node, bundles, output, classifier, with_identity=identity)
    listener, finish = _listener(output, shown, is_case=is_case)
    case, _ = run_chain(agents, CaseFile(source, Options(wanted, classifier, tta)), listener=listener)
    finish(case)
    if case.reading is None or case.files is None:
        raise typer.Exit(EXIT_NO_REPORT)
    if case.verdict is not None and case.verdict.word == "not usable":
        raise typer.Exit(EXIT_NOT_USABLE)


def _listener(
    output: Path, shown: JsonProgress | ShownProgress, *, is_case: bool
) -> tuple[Listener, Callable[[CaseFile], None]]:
    """Whom to tell of progress, and of the end."""
    if not is_case:
        return shown, shown.finish
    from neuroscan_core.viewer.cases.folder import CaseFolder
    from neuroscan_core.viewer.diagnose.publish import CasePublisher

    publisher = CasePublisher(CaseFolder(output), "Diagnosis")

    def tell(case: CaseFile, records: Sequence[AgentRecord]) -> None:
        publisher(case, records)
        shown(case, records)

    def finish(case: CaseFile) -> None:
        publisher.finish(case)
        shown.finish(case)

    return tell, finish
