"""Writing a bundle: the network is exported, compared, hashed and described; nothing is left when a check fails."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from neuroscan_core.domain.model_card import ModelKind
from training.bundle.card import (
    CARD_FILE,
    DEFAULT_POSTPROCESSING,
    MODEL_FILE,
    PAGE_FILE,
    REFERENCE_FILE,
    CardFacts,
    OnnxFacts,
    make_card,
    metrics_of,
)
from training.bundle.card_page import card_page
from training.bundle.feed import feed_of
from training.bundle.words import SPLITS
from training.data.splits import load_split
from training.export.errors import ExportError
from training.export.onnx_file import OPSET, export_onnx
from training.export.reference import reference_inputs, save_reference
from training.export.torchscript import TORCHSCRIPT_FILE, export_torchscript
from training.export.trained import TrainedNetwork, read_trained
from training.networks import num_parameters

log = logging.getLogger(__name__)
NAMES = {
    "classifier": "tumour-classifier",
    "classifier-small": "tumour-classifier-small",
    "drunet": "drunet-flair",
    "drunet-v2": "drunet-v2-flair",
    "mobilenetv2-unet": "mobilenetv2-unet-flair",
    "segresnet": "segresnet-brats",
    "unet": "unet-brats",
}


@dataclass(frozen=True)
class Extras:
    """What may be asked for beside the plain bundle.

    Parameters
    ----------
    name : str
        Of the bundle; by default that of the network in `NAMES`.
    opset : int
        20, or 13 for TensorRT 8.2.
    torchscript : bool
        Also write TorchScript (classifiers only).
    split : str
        File or name of the split that it was trained with; by default what the run says, or that of the kind.
    """

    name: str = ""
    opset: int = OPSET
    torchscript: bool = False
    split: str = ""


def write_bundle(
    run: Path,
    folder: Path,
    version: str,
    postprocessing: Path | None = None,
    metrics: Path | None = None,
    extras: Extras | None = None,
) -> dict[str, Any]:
    """Export the best network of a run into a bundle folder.

    Parameters
    ----------
    run : pathlib.Path
        Folder of the run, or its `best.pt`.
    folder : pathlib.Path
        Made where absent; files of an earlier export are replaced once all of the new ones are right.
    postprocessing, metrics : pathlib.Path, optional
        `postprocessing.json` and `test.json` (or `val.json`) of an evaluation.
    extras : Extras, optional

    Returns
    -------
    dict
        The card.

    Raises
    ------
    ExportError
        The checkpoint cannot be used, or a file is not equal to the network; the folder is as before.
    """
    extras = extras or Extras()
    trained = read_trained(run)
    chosen, results = _read_json(postprocessing), _read_json(metrics)
    _check_kind(trained, metrics, results)
    _warn_of_other_postprocessing(chosen or DEFAULT_POSTPROCESSING, results)
    if extras.torchscript and trained.kind is not ModelKind.CLASSIFIER:
        raise ExportError(f"TorchScript is written for classifiers only, and {trained.name} is none.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as name:
        staging = Path(name)
        card = _write_files(trained, staging, version, extras, chosen or DEFAULT_POSTPROCESSING, metrics_of(results))
        write_card(staging, card)
        # The card goes last: until then the folder is not a bundle, or still the former one.
        for path in sorted(staging.iterdir(), key=lambda path: path.name == CARD_FILE):
            path.replace(folder / path.name)
    log.info("wrote %s, step %s of its run", folder, trained.step)
    return card


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write a card as YAML and as a page."""
    text = yaml.safe_dump(card, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True)
    (folder / CARD_FILE).write_text(text, encoding="utf-8")
    (folder / PAGE_FILE).write_text(card_page(card), encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, lower-case hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_files(
    trained: TrainedNetwork,
    folder: Path,
    version: str,
    extras: Extras,
    postprocessing: dict[str, float],
    metrics: list[dict[str, Any]],
) -> dict[str, Any]:
    feed = feed_of(trained)
    images = reference_inputs(trained.kind, feed.size, feed.spacing_mm)
    logits = export_onnx(trained.network, folder / MODEL_FILE, images, extras.opset)
    save_reference(folder / REFERENCE_FILE, images, logits)
    torchscript = None
    if extras.torchscript:
        export_torchscript(trained.network, folder / TORCHSCRIPT_FILE, images, logits)
        torchscript = {"file": TORCHSCRIPT_FILE, "sha256": sha256_of(folder / TORCHSCRIPT_FILE)}
    return make_card(
        CardFacts(
            name=extras.name or NAMES[trained.name],
            version=version,
            kind=trained.kind,
            feed=feed,
            onnx=OnnxFacts(sha256_of(folder / MODEL_FILE), extras.opset, num_parameters(trained.network)),
            split=load_split(extras.split or str(trained.data_option("split", SPLITS[trained.kind]))),
            postprocessing=postprocessing,
            metrics=metrics,
            training=_training(trained),
            torchscript=torchscript,
        )
    )


def _check_kind(trained: TrainedNetwork, metrics: Path | None, results: dict[str, Any] | None) -> None:
    kind = trained.kind.value
    if results is not None and results.get("kind", kind) != kind:
        raise ExportError(
            f"{metrics} holds figures of a {results['kind']} network; {trained.name} is a {kind} network.",
            remedy="Give the file that `test` wrote for this network.",
        )


def _warn_of_other_postprocessing(chosen: dict[str, float], results: dict[str, Any] | None) -> None:
    measured = (results or {}).get("postprocessing")
    if measured is not None and any(measured.get(key) != value for key, value in chosen.items()):
        log.warning(
            "the figures were measured with %s, the bundle has %s: give `test` the file by --postprocessing",
            dict(measured),
            dict(chosen),
        )


def _training(trained: TrainedNetwork) -> dict[str, Any]:
    facts: dict[str, Any] = {"network": trained.name, "step": trained.step}
    if trained.experiment:
        facts = {"experiment": trained.experiment, **facts}
    if math.isfinite(trained.score):
        facts["validation_score"] = round(trained.score, 4)
    return facts


def _read_json(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ExportError(f"Cannot read {path}: {exc}.", remedy="Give a file written by `test`.") from exc
    return content
