"""Segmentation of images on disk, without a node: DICOM series to SEG and SR, NIfTI to NIfTI.

The same reading, network and result writing as in the node, one series after the other; nothing is sent or journaled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry

from dicom_gateway.journal import ResultRecord
from dicom_gateway.reading import SourceSeries, read_series
from dicom_gateway.results.headers import SourceHeaders
from dicom_gateway.results.writer import ResultWriter
from dicom_gateway.rules import RuleSet
from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.errors import ConfigurationError, RejectionCode, SeriesRejection, StorageError
from neuroscan_core.domain.events import SegmentationReady, SeriesCompleted
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.inference.bundle import Bundle, find_bundles
from neuroscan_core.offline import segment_volume
from neuroscan_core.ports import InferenceEngine

NIFTI_SUFFIXES = (".nii", ".nii.gz")
VERSION = 1


def segment_path(
    source: Path,
    output: Path,
    config: NodeConfig,
    *,
    model: str | None = None,
    clock: Callable[[], float] = time.time,
) -> Iterator[str]:
    """Segment a folder or file, one series after the other.

    Parameters
    ----------
    source : Path
        Folder of DICOM, DICOM file, or NIfTI file.
    output : Path
        Folder for DICOM results, made where missing; for NIfTI a file, or a folder that exists.
    model : str, optional
        Segment with this bundle; otherwise the rules decide.

    Yields
    ------
    str
        What happened to each series, as a sentence.

    Raises
    ------
    ConfigurationError
        `source` is not there, or the model is not known.
    SeriesRejection
        No series was segmented; with the reason of the last.
    """
    if not source.exists():
        raise ConfigurationError(f"{source} does not exist.", remedy="Check the path.")
    bundles = find_bundles(config.segmenter.models_dir)
    if source.name.endswith(NIFTI_SUFFIXES):
        yield _segment_nifti(source, output, config, _bundle(bundles, model or _only(bundles)))
        return
    yield from _segment_dicom(source, output, config, bundles, model, clock)


def _segment_nifti(source: Path, output: Path, config: NodeConfig, bundle: Bundle) -> str:
    from neuroscan_core.nifti import segment_nifti

    path = output / f"{source.name.removesuffix('.gz').removesuffix('.nii')}_seg.nii.gz" if output.is_dir() else output
    if not path.name.endswith(NIFTI_SUFFIXES):
        raise ConfigurationError(f"{path} is not a name for NIfTI.", remedy="Let it end in .nii.gz, or name a folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(bundle.open_engine(config.segmenter)) as engine:
            segmentation = segment_nifti(source, path, engine)
    except OSError as exc:
        raise StorageError(
            f"{path} cannot be written: {exc.strerror or exc}.", remedy="Check rights and space."
        ) from exc
    return f"{source.name}: {_volume(segmentation)}; {path}"


def _segment_dicom(
    source: Path,
    output: Path,
    config: NodeConfig,
    bundles: dict[str, Bundle],
    model: str | None,
    clock: Callable[[], float],
) -> Iterator[str]:
    rules, num_segmented = RuleSet(config.rules), 0
    rejection = SeriesRejection(RejectionCode.NO_RULE, f"There is no DICOM image in {source}.")
    for series in read_series([source], config.series):
        name = str(series.headers[0].get("SeriesDescription", "")) or series.series_instance_uid
        try:
            chosen = model or _by_rule(rules, series)
            results, segmentation = _segment_series(series, output, config, _bundle(bundles, chosen), clock)
        except SeriesRejection as exc:
            rejection = exc
            yield f"{name}: not segmented. {exc}"
            continue
        num_segmented += 1
        files = "".join(f"\n  {record.kind} {output / record.path}" for record in results)
        yield f"{name}: {_volume(segmentation)}{files}"
    if num_segmented == 0:
        raise rejection


def _by_rule(rules: RuleSet, series: SourceSeries) -> str:
    decision = rules.decide(series.headers[0])
    if decision.model is None:
        raise SeriesRejection(RejectionCode.NO_RULE, decision.reason, remedy="Name a model (--model), or add a rule.")
    return decision.model


def _segment_series(
    series: SourceSeries, output: Path, config: NodeConfig, bundle: Bundle, clock: Callable[[], float]
) -> tuple[list[ResultRecord], Segmentation]:
    volume = series.require_volume()
    with closing(bundle.open_engine(config.segmenter)) as engine:
        segmentation = segment_volume(volume, engine)
        model = _identity(engine)
    headers = SourceHeaders(lambda _: series.headers)
    completed = SeriesCompleted(
        series.series_instance_uid, 0, manifest=volume.keys, geometry=volume.geometry, version=VERSION, reason="object",
        last_received_at_s=clock(),
    )  # fmt: skip
    result = SegmentationReady(series.series_instance_uid, VERSION, segmentation, model)
    output.mkdir(parents=True, exist_ok=True)
    writer = ResultWriter(config.results, config.gateway, output, headers, clock=clock, registry=CollectorRegistry())
    index = {key: k for k, key in enumerate(volume.keys)}

    def pixels(key: FrameKey) -> npt.NDArray[np.float32]:
        return np.asarray(volume.voxels_kji[index[key]])

    return writer.write(completed, result, bundle.card, pixels=pixels), segmentation


def _identity(engine: InferenceEngine) -> ModelIdentity:
    return ModelIdentity(engine.card.name, engine.card.version, engine.card.onnx_sha256, engine.name)


def _bundle(bundles: dict[str, Bundle], name: str) -> Bundle:
    if name not in bundles:
        raise ConfigurationError(f"There is no model {name}.", remedy="`neuroscan models` lists what is there.")
    return bundles[name]


def _only(bundles: dict[str, Bundle]) -> str:
    if len(bundles) != 1:
        raise ConfigurationError(
            f"There are {len(bundles)} models, and NIfTI has no attributes for the rules.", remedy="Name one (--model)."
        )
    return next(iter(bundles))


def _volume(segmentation: Segmentation) -> str:
    volume_ml = sum(region.volume_ml for region in segmentation.measurements)
    return "no tumour found" if segmentation.is_empty else f"tumour of {volume_ml:.1f} ml"
