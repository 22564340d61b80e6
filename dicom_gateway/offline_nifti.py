"""Segmentation of NIfTI files: one volume, the sequences of one patient, or the folder of a BraTS case.

What NIfTI is read and written as is in `neuroscan_core.nifti`; here models are chosen and files named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from dicom_gateway.results.sr import summary
from dicom_gateway.study.offline import study_config
from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.errors import ConfigurationError, StorageError
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.domain.segmentation import Segmentation
from neuroscan_core.inference.bundle import Bundle, find_bundles
from neuroscan_core.pipeline.study import STUDY_KINDS

NIFTI_SUFFIXES = (".nii", ".nii.gz")


def holds_nifti(source: Path) -> bool:
    """Whether this is a NIfTI file, or a folder with some."""
    if source.is_dir():
        return any(path.name.endswith(NIFTI_SUFFIXES) for path in source.iterdir())
    return source.name.endswith(NIFTI_SUFFIXES)


def segment_nifti_path(
    source: Path, output: Path, config: NodeConfig, *, model: str | None = None, triage: str | None = None
) -> Iterator[str]:
    """Segment a NIfTI file, or the folder of a BraTS case.

    Raises
    ------
    ConfigurationError
        The model does not suit, a triage is asked for, or the output has no name for NIfTI.
    """
    if source.is_dir():
        from neuroscan_core.nifti_study import sequences_in

        yield from segment_sequences(sequences_in(source), output, config, model=model, triage=triage)
        return
    _refuse_triage(triage)
    yield _segment_one(source, output, config, _single(find_bundles(config.segmenter.models_dir), config, model))


def segment_sequences(
    files: Mapping[str, Path],
    output: Path,
    config: NodeConfig,
    *,
    model: str | None = None,
    triage: str | None = None,
) -> Iterator[str]:
    """Segment NIfTI files of the sequences of one patient.

    Parameters
    ----------
    files : mapping of str to Path
        Sequence (T1, T1ce, T2, FLAIR) -> file.
    output : Path
        File for the label map, or a folder that exists.

    Raises
    ------
    ConfigurationError
        A file is not there, or the model does not segment several sequences.
    SeriesRejection
        A sequence is missing, or the volumes do not cover one another.
    """
    from neuroscan_core.nifti_study import segment_nifti_study

    _refuse_triage(triage)
    for path in files.values():
        if not path.exists():
            raise ConfigurationError(f"{path} does not exist.", remedy="Check the path.")
    bundle = _of_sequences(find_bundles(config.segmenter.models_dir), config, model)
    path = _label_file(next(iter(files.values())), output)
    settings = study_config(config, bundle.card.name)
    try:
        with closing(bundle.open_engine(config.segmenter)) as engine:
            segmentation = segment_nifti_study(
                files, path, engine, references=settings.references, min_overlap=settings.min_overlap
            )
    except OSError as exc:
        raise _unwritable(path, exc) from exc
    yield from (f"! {warning}" for warning in segmentation.warnings)
    yield f"{', '.join(files)}: {summary(segmentation, bundle.card)}, by {bundle.card.name}; {path}"


def named_bundle(bundles: Mapping[str, Bundle], name: str) -> Bundle:
    """The bundle with this name.

    Raises
    ------
    ConfigurationError
        There is none.
    """
    if name not in bundles:
        raise ConfigurationError(f"There is no model {name}.", remedy="`neuroscan models` lists what is there.")
    return bundles[name]


def _segment_one(source: Path, output: Path, config: NodeConfig, bundle: Bundle) -> str:
    from neuroscan_core.nifti import segment_nifti

    path = _label_file(source, output)
    try:
        with closing(bundle.open_engine(config.segmenter)) as engine:
            segmentation = segment_nifti(source, path, engine)
    except OSError as exc:
        raise _unwritable(path, exc) from exc
    return f"{source.name}: {size_text(segmentation)}, by {bundle.card.name}; {path}"


def _label_file(source: Path, output: Path) -> Path:
    path = output / f"{source.name.removesuffix('.gz').removesuffix('.nii')}_seg.nii.gz" if output.is_dir() else output
    if not path.name.endswith(NIFTI_SUFFIXES):
        raise ConfigurationError(f"{path} is not a name for NIfTI.", remedy="Let it end in .nii.gz, or name a folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _unwritable(path: Path, exc: OSError) -> StorageError:
    return StorageError(f"{path} cannot be written: {exc.strerror or exc}.", remedy="Check rights and space.")


def _refuse_triage(triage: str | None) -> None:
    if triage is not None:
        raise ConfigurationError("Triage goes into a DICOM report; NIfTI has none.", remedy="Leave out --triage.")


def _single(bundles: Mapping[str, Bundle], config: NodeConfig, model: str | None) -> Bundle:
    """The named model; otherwise the only one of single series, or the first of the rules."""
    named = [rule.model for rule in config.rules]
    bundle = _default(bundles, (ModelKind.SLICE25D,), named) if model is None else named_bundle(bundles, model)
    if bundle.card.kind is not ModelKind.SLICE25D:
        raise ConfigurationError(
            f"{bundle.card.name} is a {bundle.card.kind.value} model; it does not segment a single volume.",
            remedy="Name its sequences (--t1, --t1ce, --t2, --flair), or choose another model.",
        )
    return bundle


def _of_sequences(bundles: Mapping[str, Bundle], config: NodeConfig, model: str | None) -> Bundle:
    """The named model; otherwise the only one of several sequences, or the first of the configured studies."""
    named = [study.model for study in config.studies]
    bundle = _default(bundles, STUDY_KINDS, named) if model is None else named_bundle(bundles, model)
    if bundle.card.kind not in STUDY_KINDS:
        raise ConfigurationError(
            f"{bundle.card.name} is a {bundle.card.kind.value} model; it does not segment several sequences.",
            remedy="`neuroscan models` lists what is there.",
        )
    return bundle


def _default(bundles: Mapping[str, Bundle], kinds: Sequence[ModelKind], named: Sequence[str | None]) -> Bundle:
    """NIfTI has no attributes for the rules: the only model that suits, else the first that the configuration names."""
    fitting = {name: bundle for name, bundle in bundles.items() if bundle.card.kind in kinds}
    chosen = list(fitting) if len(fitting) == 1 else [name for name in named if name in fitting]
    if not chosen:
        there = f"{len(fitting)} models suit: {', '.join(fitting)}" if fitting else "No model suits"
        raise ConfigurationError(
            f"{there}; the configuration names none of them.",
            remedy="Name one (--model)." if fitting else "Set segmenter.models_dir to a folder that holds one.",
        )
    return fitting[chosen[0]]


def size_text(segmentation: Segmentation) -> str:
    """What was found, for people: the volume of all labels together."""
    volume_ml = sum(region.volume_ml for region in segmentation.measurements)
    return "no tumour found" if segmentation.is_empty else f"tumour of {volume_ml:.1f} ml"
