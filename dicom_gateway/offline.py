"""Segmentation of images on disk, without a node: DICOM series and studies to SEG and SR.

The same reading, network and result writing as in the node, one series after the other; nothing is sent or journaled.
Studies of several series are gathered in `study.offline`; NIfTI is the work of `offline_nifti`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry

from dicom_gateway.journal import ResultRecord
from dicom_gateway.offline_nifti import holds_nifti, named_bundle, segment_nifti_path, size_text
from dicom_gateway.reading import SourceSeries, read_series
from dicom_gateway.results.headers import SourceHeaders
from dicom_gateway.results.writer import ResultWriter
from dicom_gateway.rules import RuleSet
from dicom_gateway.study.offline import segment_study_folder, study_config
from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.errors import ConfigurationError, RejectionCode, SeriesRejection
from neuroscan_core.domain.events import SegmentationReady, SeriesCompleted
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.inference.bundle import Bundle, find_bundles
from neuroscan_core.offline import segment_volume
from neuroscan_core.pipeline.classify import classify_volume, with_opinion
from neuroscan_core.pipeline.study import STUDY_KINDS
from neuroscan_core.ports import InferenceEngine

VERSION = 1


def segment_path(
    source: Path,
    output: Path,
    config: NodeConfig,
    *,
    model: str | None = None,
    triage: str | None = None,
    clock: Callable[[], float] = time.time,
) -> Iterator[str]:
    """Segment a folder or file: one series after the other, or its studies where the model needs several sequences.

    Parameters
    ----------
    source : Path
        Folder of DICOM, DICOM file, NIfTI file, or folder of a BraTS case.
    output : Path
        Folder for DICOM results, made where missing; for NIfTI a file, or a folder that exists.
    model : str, optional
        Segment with this bundle; otherwise the rules decide.
    triage : str, optional
        Classifier whose opinion goes into the report; otherwise the rules decide, too.

    Yields
    ------
    str
        What happened to each series, as a sentence.

    Raises
    ------
    ConfigurationError
        `source` is not there, or a model is not known or of another kind.
    SeriesRejection
        No series was segmented; with the reason of the last.
    """
    if not source.exists():
        raise ConfigurationError(f"{source} does not exist.", remedy="Check the path.")
    if holds_nifti(source):
        yield from segment_nifti_path(source, output, config, model=model, triage=triage)
        return
    bundles = find_bundles(config.segmenter.models_dir)
    with ExitStack() as stack:
        engines = _Engines(stack, config, bundles)
        if model is not None and named_bundle(bundles, model).card.kind in STUDY_KINDS:
            classifier = engines.classifier(triage or study_config(config, model).triage)
            yield from segment_study_folder(
                source, output, config, engines.open(model), classifier=classifier, clock=clock
            )
            return
        yield from _segment_series_of(source, output, config, engines, model, triage, clock)


class _Engines:
    """Engines that were opened, each once."""

    def __init__(self, stack: ExitStack, config: NodeConfig, bundles: dict[str, Bundle]) -> None:
        self._stack, self._config, self.bundles = stack, config, bundles
        self._open: dict[str, InferenceEngine] = {}

    def open(self, name: str) -> InferenceEngine:
        """Engine of a bundle."""
        if name not in self._open:
            engine = named_bundle(self.bundles, name).open_engine(self._config.segmenter)
            self._open[name] = self._stack.enter_context(closing(engine))
        return self._open[name]

    def segmenter(self, name: str) -> InferenceEngine:
        """Engine of a bundle that segments single series."""
        kind = named_bundle(self.bundles, name).card.kind
        if kind is not ModelKind.SLICE25D:
            raise ConfigurationError(
                f"{name} is a {kind.value} model; it does not segment a single series.",
                remedy="`neuroscan models` lists what is there.",
            )
        return self.open(name)

    def classifier(self, name: str | None) -> InferenceEngine | None:
        """Engine of a classifier; None where none is wanted."""
        if name is None:
            return None
        if named_bundle(self.bundles, name).card.kind is not ModelKind.CLASSIFIER:
            raise ConfigurationError(f"{name} is no classifier.", remedy="`neuroscan models` lists what is there.")
        return self.open(name)


def _segment_series_of(
    source: Path,
    output: Path,
    config: NodeConfig,
    engines: _Engines,
    model: str | None,
    triage: str | None,
    clock: Callable[[], float],
) -> Iterator[str]:
    rules, num_segmented = RuleSet(config.rules), 0
    rejection = SeriesRejection(RejectionCode.NO_RULE, f"There is no DICOM image in {source}.")
    for series in read_series([source], config.series):
        name = str(series.headers[0].get("SeriesDescription", "")) or series.series_instance_uid
        try:
            chosen, judge = (model, triage) if model else _by_rule(rules, series, triage)
            engine, classifier = engines.segmenter(chosen), engines.classifier(judge)
            results, segmentation = _segment_series(series, output, config, engine, classifier, clock)
        except SeriesRejection as exc:
            rejection = exc
            yield f"{name}: not segmented. {exc}"
            continue
        num_segmented += 1
        files = "".join(f"\n  {record.kind} {output / record.path}" for record in results)
        yield f"{name}: {size_text(segmentation)}{files}"
    if num_segmented == 0:
        raise rejection


def _by_rule(rules: RuleSet, series: SourceSeries, triage: str | None) -> tuple[str, str | None]:
    decision = rules.decide(series.headers[0])
    if decision.model is None:
        raise SeriesRejection(RejectionCode.NO_RULE, decision.reason, remedy="Name a model (--model), or add a rule.")
    return decision.model, triage or decision.triage


def _segment_series(
    series: SourceSeries,
    output: Path,
    config: NodeConfig,
    engine: InferenceEngine,
    classifier: InferenceEngine | None,
    clock: Callable[[], float],
) -> tuple[list[ResultRecord], Segmentation]:
    volume = series.require_volume()
    segmentation = segment_volume(volume, engine)
    if classifier is not None:
        alone, judge = segmentation, classifier
        segmentation = with_opinion(alone, judge.card.name, lambda: classify_volume(volume, judge, alone))
    headers = SourceHeaders(lambda _: series.headers)
    completed = SeriesCompleted(
        series.series_instance_uid, 0, manifest=volume.keys, geometry=volume.geometry, version=VERSION, reason="object",
        last_received_at_s=clock(),
    )  # fmt: skip
    model = ModelIdentity.of(engine.card, engine.name)
    result = SegmentationReady(series.series_instance_uid, VERSION, segmentation, model)
    output.mkdir(parents=True, exist_ok=True)
    writer = ResultWriter(config.results, config.gateway, output, headers, clock=clock, registry=CollectorRegistry())
    index = {key: k for k, key in enumerate(volume.keys)}

    def pixels(key: FrameKey) -> npt.NDArray[np.float32]:
        return np.asarray(volume.voxels_kji[index[key]])

    return writer.write(completed, result, engine.card, pixels=pixels), segmentation
