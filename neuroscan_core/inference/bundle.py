"""Model bundles: a folder with `model.yaml` (the card), the ONNX file and reference inputs with their logits.

Here bundles are found, read and checked. Executing them is the work of the engines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

import neuroscan_core
from neuroscan_core.domain.errors import InvalidBundle
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.pipeline.normalise import NORMALISATION, NUM_WINDOW_SLICES
from neuroscan_core.ports import InferenceEngine

CARD_FILE = "model.yaml"
OPSET = 20
_EXPORT_AGAIN = "Export the bundle again, or copy it again if it was damaged on the way."


@dataclass(frozen=True, eq=False)
class Reference:
    """Inputs with the logits that a right engine gives.

    Parameters
    ----------
    image_NCHW, logits_NLHW : ndarray of float32
    """

    image_NCHW: npt.NDArray[np.float32]  # noqa: N815 - shape suffix
    logits_NLHW: npt.NDArray[np.float32]  # noqa: N815 - shape suffix


@dataclass(frozen=True, eq=False)
class Bundle:
    """A checked model bundle.

    Parameters
    ----------
    card : ModelCard
    folder, onnx_path : Path
    reference : Reference
    """

    card: ModelCard
    folder: Path
    onnx_path: Path
    reference: Reference

    def open_engine(self, threads: int = 0) -> InferenceEngine:
        """Execute it on ONNX Runtime; see `OnnxRuntimeEngine` for what may go wrong."""
        from neuroscan_core.inference.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(self, threads)


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and check that its parts agree.

    Raises
    ------
    InvalidBundle
        A file is missing, the ONNX file is not the one of the card, or the card asks for what the node cannot do.
    """
    card = _read_card(folder)
    if card.kind is not ModelKind.SLICE25D:
        raise InvalidBundle(f"{card.name} is a {card.kind.value} model; the node segments with slice25d models.")
    if card.normalisation != NORMALISATION or len(card.channels) != NUM_WINDOW_SLICES or card.activation != "sigmoid":
        raise InvalidBundle(
            f"{card.name} wants normalisation {card.normalisation}, {len(card.channels)} channels and "
            f"{card.activation}; the node has {NORMALISATION}, {NUM_WINDOW_SLICES} and sigmoid.",
            remedy="Use a bundle that was exported for this version of the node.",
        )
    onnx_path = _inside(folder, card.onnx_file)
    _check_hash(onnx_path, card)
    _check_opset(card)
    return Bundle(card, folder, onnx_path, _read_reference(_inside(folder, card.reference_file), card))


def find_bundles(models_dir: Path | None = None) -> dict[str, Bundle]:
    """Load the bundles that come with the package, and those in `models_dir`, which go first.

    Raises
    ------
    InvalidBundle
        One of them is damaged, or two in one folder have the same name.
    """
    bundles: dict[str, Bundle] = {}
    for directory in (Path(neuroscan_core.__file__).parent / "models", models_dir):
        here: dict[str, Bundle] = {}
        for folder in _folders_with_card(directory):
            bundle = load_bundle(folder)
            if bundle.card.name in here:
                raise InvalidBundle(f"Two bundles in {directory} are called {bundle.card.name}.", remedy="Remove one.")
            here[bundle.card.name] = bundle
        bundles.update(here)
    return bundles


def _folders_with_card(directory: Path | None) -> Iterator[Path]:
    if directory is None:
        return
    if not directory.is_dir():
        raise InvalidBundle(f"There is no folder {directory} with models.", remedy="Correct segmenter.models_dir.")
    yield from sorted(card.parent for card in directory.glob(f"*/{CARD_FILE}"))


def _read_card(folder: Path) -> ModelCard:
    path = folder / CARD_FILE
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise InvalidBundle(f"Cannot read {path}: {exc.strerror}.", remedy="Give the folder of a bundle.") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise InvalidBundle(f"{path} is not YAML: {exc}.", remedy=_EXPORT_AGAIN) from exc
    if not isinstance(raw, dict):
        raise InvalidBundle(f"{path} holds no model card.", remedy=_EXPORT_AGAIN)
    return ModelCard.from_mapping(raw)


def _inside(folder: Path, name: str) -> Path:
    if not name or Path(name).name != name:
        raise InvalidBundle(f"The card names the file '{name}', which is not in its folder.", remedy=_EXPORT_AGAIN)
    return folder / name


def _check_hash(path: Path, card: ModelCard) -> None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as exc:
        raise InvalidBundle(f"Cannot read {path}: {exc.strerror}.", remedy=_EXPORT_AGAIN) from exc
    if digest.hexdigest() != card.onnx_sha256:
        raise InvalidBundle(f"{path} is not the file that its card describes: SHA-256 differs.", remedy=_EXPORT_AGAIN)


def _check_opset(card: ModelCard) -> None:
    opset = card.raw["onnx"].get("opset", OPSET)
    if not isinstance(opset, int) or opset > OPSET:
        raise InvalidBundle(f"{card.name} needs ONNX opset {opset}; the node knows up to {OPSET}.")


def _read_reference(path: Path, card: ModelCard) -> Reference:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            image, logits = arrays["image"].astype(np.float32), arrays["logits"].astype(np.float32)
    except (OSError, ValueError, KeyError, EOFError) as exc:
        raise InvalidBundle(f"{path} holds no reference: {exc}.", remedy=_EXPORT_AGAIN) from exc
    num = len(image)
    wanted = ((num, len(card.channels), *card.size), (num, len(card.labels), *card.size))
    if num == 0 or (image.shape, logits.shape) != wanted:
        raise InvalidBundle(
            f"Shapes of {path} are {image.shape} and {logits.shape}; the card says {wanted[0]} and {wanted[1]}.",
            remedy=_EXPORT_AGAIN,
        )
    return Reference(image, logits)
