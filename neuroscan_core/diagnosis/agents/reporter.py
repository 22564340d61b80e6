"""Writes it all down: report.json, report.html, report.pdf, label maps, and DICOM objects where the input was DICOM."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from neuroscan_core.config import ProseConfig
from neuroscan_core.diagnosis.agent import Finding, Progress
from neuroscan_core.diagnosis.case import CaseFile, Gathered, InputKind, ModelResult, ReportFiles, Source
from neuroscan_core.diagnosis.report.content import content_of
from neuroscan_core.diagnosis.report.html import html_report
from neuroscan_core.diagnosis.report.pdf import pdf_report
from neuroscan_core.diagnosis.report.pictures import pictures_of
from neuroscan_core.diagnosis.report.prose import Prose, ProseFailed, generate
from neuroscan_core.diagnosis.report.wording import paragraphs
from neuroscan_core.diagnosis.steps import STEPS
from neuroscan_core.domain.errors import NeuroScanError, StorageError
from neuroscan_core.nifti import read_nifti, write_labels

Identify = Callable[[Source], Mapping[str, str]]


class ObjectWriter(Protocol):
    """Writes DICOM objects of a result; see `dicom_gateway.diagnosis`."""

    def __call__(
        self, gathered: Gathered, source: Source, result: ModelResult, warnings: Sequence[str], folder: Path
    ) -> Mapping[str, Path]:
        """Write SEG and SR of one model into a folder; their paths by kind (``seg``, ``sr``)."""
        ...


class Reporter:
    """Writes the report.

    Parameters
    ----------
    output : Path
        Folder, made where missing.
    write_objects : callable, optional
        For input that is DICOM.
    prose : ProseConfig, optional
        Endpoint that words the report.
    identify : callable, optional
        What identifies the patient, where the report shall say so.
    """

    name, title = STEPS[5]

    def __init__(
        self,
        output: Path,
        *,
        write_objects: ObjectWriter | None = None,
        prose: ProseConfig | None = None,
        identify: Identify | None = None,
    ) -> None:
        self._output, self._write_objects = output, write_objects
        self._prose, self._identify = prose, identify

    def run(self, case: CaseFile, progress: Progress) -> Finding:
        """See `Agent`."""
        notes: list[str] = []
        try:
            self._output.mkdir(parents=True, exist_ok=True)
            files = self._write_volumes(case, notes)
            progress(1, 4)
            content = content_of(case, identity=self._identity(case))
            first = case.results[0] if case.results else None
            pictures = [] if case.reading is None else pictures_of(case.reading, first)
            progress(2, 4)
            prose = self._worded(content, next((one.png for one in pictures if one.name == "outline"), None), notes)
            progress(3, 4)
            words = paragraphs(content)
            content["text"] = [list(pair) for pair in words]
            content["generated"] = None if prose is None else {
                "model": prose.model, "mark": prose.mark, "paragraphs": list(prose.paragraphs)
            }  # fmt: skip
            content["files"] = {kind: path.relative_to(self._output).as_posix() for kind, path in files.items()}
            files |= {kind: self._output / f"report.{kind}" for kind in ("json", "html", "pdf")}
            files["html"].write_text(html_report(content, words, pictures, prose), encoding="utf-8")
            files["pdf"].write_bytes(pdf_report(content, words, pictures, prose))
            files["json"].write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as exc:
            raise StorageError(
                f"The report cannot be written: {exc.strerror or exc}.", remedy="Check rights and space."
            ) from exc
        offline = "without a network" if prose is None else f"and by {prose.model}, marked as generated"
        return Finding(
            case.adding(files=ReportFiles(files)),
            (("pictures", str(len(pictures))), ("words", offline)),
            tuple((kind, path.name) for kind, path in sorted(files.items())),
            None,
            notes,
        )

    def _identity(self, case: CaseFile) -> Mapping[str, str] | None:
        if self._identify is None or case.reading is None:
            return None
        return self._identify(case.reading.source)

    def _worded(self, content: dict[str, object], picture_png: bytes | None, notes: list[str]) -> Prose | None:
        if self._prose is None:
            return None
        try:
            return generate(content, self._prose, picture_png)
        except ProseFailed as exc:
            notes.append(f"{exc} The report has its own words only.")
            return None

    def _write_volumes(self, case: CaseFile, notes: list[str]) -> dict[str, Path]:
        """Label maps as NIfTI, or as DICOM; one that cannot be written costs a note."""
        reading, files = case.reading, dict[str, Path]()
        if reading is None or case.gathered is None:
            return files
        warnings = () if case.verdict is None else (f"Verdict: {case.verdict.word}.", *case.verdict.sentences)
        for one in case.results:
            name = one.card.name
            try:
                if reading.source.kind is InputKind.NIFTI and isinstance(reading.source.handle, Path):
                    path = self._output / f"{name}-labels.nii.gz"
                    write_labels(one.segmentation.labels_kji, read_nifti(reading.source.handle), path)
                    files[f"nifti:{name}"] = path
                elif reading.source.kind is InputKind.DICOM and self._write_objects is not None:
                    folder = self._output / "dicom" / name
                    found = self._write_objects(case.gathered, reading.source, one, warnings, folder)
                    files |= {f"{kind}:{name}": path for kind, path in found.items()}
            except NeuroScanError as exc:
                notes.append(f"No files of {name}: {exc}")
        return files
