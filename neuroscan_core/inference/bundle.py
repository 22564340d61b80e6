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
from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import InvalidBundle
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.domain.segmentation import GLIOMA_LABELS, GLIOMA_REGIONS
from neuroscan_core.domain.study import SEQUENCES
from neuroscan_core.pipeline.normalise import NORMALISATION, NUM_WINDOW_SLICES, VOLUME_NORMALISATION
from neuroscan_core.pipeline.picture import PICTURE_NORMALISATION
from neuroscan_core.ports import InferenceEngine

CARD_FILE = "model.yaml"
OPSET = 20
_EXPORT_AGAIN = "Export the bundle again, or copy it again if it was damaged on the way."

NESTED = {region.name: region.labels for region in GLIOMA_REGIONS}


@dataclass(frozen=True)
class _Feed:
    """What the node gives a kind of model, and how it reads the output."""

    normalisation: str
    num_channels: int
    activation: str


_FED = {
    ModelKind.SLICE25D: _Feed(NORMALISATION, NUM_WINDOW_SLICES, "sigmoid"),
    ModelKind.MULTIMODAL2D: _Feed(VOLUME_NORMALISATION, len(SEQUENCES), "softmax"),
    ModelKind.VOLUME3D: _Feed(VOLUME_NORMALISATION, len(SEQUENCES), "sigmoid"),
    ModelKind.CLASSIFIER: _Feed(PICTURE_NORMALISATION, 1, "softmax"),
}


@dataclass(frozen=True, eq=False)
class Reference:
    """Inputs with the logits that a right engine gives.

    Parameters
    ----------
    image_NCHW : ndarray of float32
        Inputs; (N, C, D, H, W) for ``volume3d``.
    logits_NLHW : ndarray of float32
        Outputs; (N, L, D, H, W) for ``volume3d``, (N, L) for ``classifier``.
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

    def open_engine(self, config: SegmenterConfig) -> InferenceEngine:
        """Execute it on the engine that the configuration names; see `select.open_engine` for what may go wrong."""
        from neuroscan_core.inference.select import open_engine

        return open_engine(self, config)


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and check that its parts agree.

    Raises
    ------
    InvalidBundle
        A file is missing, the ONNX file is not the one of the card, or the card asks for what the node cannot do.
    """
    card = read_card(folder)
    problem = _cannot_feed(card)
    if problem:
        raise InvalidBundle(
            f"{card.name}, a {card.kind.value} model, {problem}.",
            remedy="Use a bundle that was exported for this version of the node.",
        )
    onnx_path = checked_file(folder, card.onnx_file, card.onnx_sha256)
    _check_opset(card)
    return Bundle(card, folder, onnx_path, _read_reference(_inside(folder, card.reference_file), card))


def _cannot_feed(card: ModelCard) -> str:
    """What of a card the node has no input or no reading of the output for; empty where all is well."""
    needs = _FED[card.kind]
    has = (card.normalisation, card.activation)
    if has != (needs.normalisation, needs.activation):
        return f"wants {has[0]} and {has[1]}; the node has {needs.normalisation} and {needs.activation}"
    if len(card.channels) != needs.num_channels:
        return f"wants {len(card.channels)} channels; the node has {needs.num_channels}"
    if card.kind in (ModelKind.SLICE25D, ModelKind.CLASSIFIER):
        return ""
    if card.channels != SEQUENCES:
        return f"wants the channels {', '.join(card.channels)}; the node has {', '.join(SEQUENCES)}, in this order"
    values = tuple(label.value for label in card.labels)
    if values != GLIOMA_LABELS:
        return f"gives the labels {values}; the node knows {GLIOMA_LABELS} (necrotic core, oedema, enhancing), in order"
    regions = {region.name: region.labels for region in card.regions}
    if card.kind is ModelKind.VOLUME3D and (list(regions) != list(NESTED) or any(
        set(regions[name]) != set(labels) for name, labels in NESTED.items()
    )):  # fmt: skip
        return f"gives the regions {regions}; the node nests {NESTED}, in this order"
    return ""


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


def find_cards(models_dir: Path | None = None) -> dict[str, ModelCard]:
    """Read the cards of the bundles that `find_bundles` would load.

    Raises
    ------
    InvalidBundle
        There is no such folder, or a card cannot be used.
    """
    cards: dict[str, ModelCard] = {}
    for directory in (Path(neuroscan_core.__file__).parent / "models", models_dir):
        for folder in _folders_with_card(directory):
            card = read_card(folder)
            cards[card.name] = card
    return cards


def _folders_with_card(directory: Path | None) -> Iterator[Path]:
    if directory is None:
        return
    if not directory.is_dir():
        raise InvalidBundle(f"There is no folder {directory} with models.", remedy="Correct segmenter.models_dir.")
    yield from sorted(card.parent for card in directory.glob(f"*/{CARD_FILE}"))


def read_card(folder: Path) -> ModelCard:
    """Read the card of a bundle alone; whether the other files belong to it is not looked at.

    Raises
    ------
    InvalidBundle
        There is none, or it cannot be used.
    """
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


def checked_file(folder: Path, name: str, sha256: str) -> Path:
    """Path of a file that a card names, after a look at its contents.

    Raises
    ------
    InvalidBundle
        The file is not in the bundle's folder, or not the one that the card describes.
    """
    path, digest = _inside(folder, name), hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as exc:
        raise InvalidBundle(f"Cannot read {path}: {exc.strerror}.", remedy=_EXPORT_AGAIN) from exc
    if digest.hexdigest() != sha256:
        raise InvalidBundle(f"{path} is not the file that its card describes: SHA-256 differs.", remedy=_EXPORT_AGAIN)
    return path


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
    num = len(image) if image.ndim else 0
    wanted = ((num, *card.input_shape), (num, *card.output_shape))
    if num == 0 or (image.shape, logits.shape) != wanted:
        raise InvalidBundle(
            f"Shapes of {path} are {image.shape} and {logits.shape}; the card says {wanted[0]} and {wanted[1]}.",
            remedy=_EXPORT_AGAIN,
        )
    return Reference(image, logits)
