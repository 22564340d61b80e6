"""The card of a model bundle (`model.yaml`): what a network takes, gives, was trained on and is licensed for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from neuroscan_core.domain.codes import Code
from neuroscan_core.domain.errors import InvalidBundle
from neuroscan_core.domain.geometry import Plane

SKULL_ANY, SKULL_STRIPPED = "any", "stripped"


class ModelKind(str, Enum):
    """How a model is fed, and what its outputs mean.

    ``slice25d``: three neighbouring slices; a logit per label. ``multimodal2d``: one slice of several sequences; logits
    of background and labels. ``volume3d``: a patch of several sequences; a logit per region, and regions overlap.
    ``classifier``: a grey picture; a logit per class.
    """

    SLICE25D = "slice25d"
    MULTIMODAL2D = "multimodal2d"
    VOLUME3D = "volume3d"
    CLASSIFIER = "classifier"


@dataclass(frozen=True)
class Label:
    """One value of the label map.

    Parameters
    ----------
    value : int
        From 1; 0 is background.
    name : str
    category, type, region : Code
        Segmented property category, type and anatomic region.
    colour_rgb : tuple of 3 int
        0..255.
    """

    value: int
    name: str
    category: Code
    type: Code
    region: Code
    colour_rgb: tuple[int, int, int]


@dataclass(frozen=True)
class Region:
    """Several labels taken together; one output channel of a ``volume3d`` model.

    Parameters
    ----------
    name : str
        E.g. ``WT``.
    labels : tuple of int
        Values of the label map that it covers.
    """

    name: str
    labels: tuple[int, ...]


@dataclass(frozen=True)
class ModelClass:
    """What a classifier can say of a picture."""

    name: str
    code: Code


@dataclass(frozen=True)
class Variant:
    """The same network in another file of the bundle.

    Parameters
    ----------
    file, sha256 : str
    precision : str
        ``int8`` or ``fp16``.
    engine : str
        What it was made for: ``onnxruntime`` or ``tensorrt``.
    """

    file: str
    sha256: str
    precision: str
    engine: str


@dataclass(frozen=True)
class ModelCard:
    """What `model.yaml` says.

    Parameters
    ----------
    sequence : str
        What it was trained on, e.g. ``FLAIR`` or ``T1,T1ce,T2,FLAIR``.
    input_name, output_name : str
        Tensor names in the ONNX file.
    channels : tuple of str
        Meaning of each input channel, e.g. ``("z-1", "z", "z+1")`` or ``("T1", "T1ce", "T2", "FLAIR")``.
    size : tuple of int
        Rows and columns of the network's input; slices, rows and columns for ``volume3d``.
    spacing_mm : float
        Spacing of pixels, or of voxels in all directions, that the network expects; NaN for classifiers, which see
        pictures of any spacing.
    spacing_tolerance : float
        Images within this fraction of `spacing_mm` are not resampled.
    planes : tuple of Plane
        Acquisition planes that are fed slice by slice; others are reformatted to the first of these.
    activation : str
        ``sigmoid`` or ``softmax``: what makes probabilities of logits.
    threshold : float
        Probability from which a voxel belongs to the region; with softmax, from which it is not background.
    min_component_ml : float
        Smaller connected parts are removed.
    labels : tuple of Label
        Empty for classifiers.
    regions : tuple of Region
        Output channels of ``volume3d``, in order; otherwise empty.
    classes : tuple of ModelClass
        Output channels of a ``classifier``, in order; otherwise empty.
    skull : str
        ``any`` where it was trained on heads as scanners send them, ``stripped`` where on brains alone.
    variants : tuple of Variant
        Other files with the same network.
    onnx_file, onnx_sha256, reference_file : str
        Files of the bundle, relative to its folder.
    raw : mapping
        The whole card as read, for people: training data, metrics, licence.
    """

    name: str
    version: str
    kind: ModelKind
    task: str
    modality: str
    sequence: str
    input_name: str
    output_name: str
    channels: tuple[str, ...]
    size: tuple[int, ...]
    spacing_mm: float
    spacing_tolerance: float
    planes: tuple[Plane, ...]
    normalisation: str
    activation: str
    threshold: float
    min_component_ml: float
    labels: tuple[Label, ...]
    licence: str
    onnx_file: str
    onnx_sha256: str
    reference_file: str
    raw: Mapping[str, Any]
    regions: tuple[Region, ...] = ()
    classes: tuple[ModelClass, ...] = ()
    skull: str = SKULL_ANY
    variants: tuple[Variant, ...] = ()

    @property
    def plane_size(self) -> tuple[int, int]:
        """Rows and columns of the network's input."""
        return (self.size[-2], self.size[-1])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch."""
        return (len(self.channels), *self.size)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output, without the batch."""
        if self.kind is ModelKind.CLASSIFIER:
            return (len(self.classes),)
        if self.kind is ModelKind.VOLUME3D:
            return (len(self.regions), *self.size)
        return (len(self.labels) + (self.kind is ModelKind.MULTIMODAL2D), *self.size)

    def variants_for(self, engine: str, precision: str) -> tuple[Variant, ...]:
        """Other files with the same network, in a precision and made for an engine."""
        return tuple(one for one in self.variants if (one.engine, one.precision) == (engine, precision))

    @property
    def needs_stripped(self) -> bool:
        """Whether the network never saw a skull in training."""
        return self.skull == SKULL_STRIPPED

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> ModelCard:
        """Read a parsed `model.yaml`.

        Raises
        ------
        InvalidBundle
            A key is missing or has a value that cannot be used; the message names it.
        """
        try:
            card = _read(cls, raw)
        except KeyError as exc:
            raise InvalidBundle(f"The model card lacks the key {exc}.", remedy="Export the bundle again.") from exc
        except (TypeError, ValueError, IndexError, AttributeError) as exc:
            raise InvalidBundle(f"The model card cannot be used: {exc}.", remedy="Export the bundle again.") from exc
        problem = _problem(card)
        if problem:
            raise InvalidBundle(f"The model card of {card.name} {problem}.", remedy="Export the bundle again.")
        return card


def _read(cls: type[ModelCard], raw: Mapping[str, Any]) -> ModelCard:
    image, output, onnx = raw["input"], raw["output"], raw["onnx"]
    kind = ModelKind(raw["kind"])
    is_classifier = kind is ModelKind.CLASSIFIER
    return cls(
        name=str(raw["name"]),
        version=str(raw["version"]),
        kind=kind,
        task=str(raw["task"]),
        modality=str(raw["modality"]),
        sequence=str(image["sequence"]),
        input_name=str(image["name"]),
        output_name=str(output["name"]),
        channels=tuple(str(channel) for channel in image["channels"]),
        size=tuple(int(length) for length in image["size"]),
        spacing_mm=math.nan if is_classifier else float(image["spacing_mm"]),
        spacing_tolerance=0.0 if is_classifier else float(image["spacing_tolerance"]),
        planes=tuple(Plane(plane) for plane in (image.get("planes", ["axial"]) if is_classifier else image["planes"])),
        normalisation=str(image["normalisation"]),
        activation=str(output["activation"]),
        threshold=0.5 if is_classifier else float(output["threshold"]),
        min_component_ml=float(raw.get("postprocessing", {}).get("min_component_ml", 0.0)),
        labels=tuple(_label(entry) for entry in (raw.get("labels", ()) if is_classifier else raw["labels"])),
        licence=str(raw["licence"]),
        onnx_file=str(onnx["file"]),
        onnx_sha256=str(onnx["sha256"]).lower(),
        reference_file=str(raw.get("reference", {}).get("file", "")),
        raw=raw,
        regions=tuple(_region(entry) for entry in (output["regions"] if kind is ModelKind.VOLUME3D else ())),
        classes=tuple(_class(entry) for entry in (raw["classes"] if is_classifier else ())),
        skull=str(image.get("skull", SKULL_ANY)),
        variants=tuple(_variant(entry) for entry in raw.get("variants", ())),
    )


def _problem(card: ModelCard) -> str:
    """What is wrong with a card whose keys are all there; empty where nothing is."""
    num_axes = 3 if card.kind is ModelKind.VOLUME3D else 2
    if len(card.size) != num_axes or min(card.size, default=0) <= 0:
        return f"gives the input size {list(card.size)}; a {card.kind.value} model has {num_axes} positive lengths"
    if card.skull not in (SKULL_ANY, SKULL_STRIPPED):
        return f"says skull: {card.skull}; it is {SKULL_ANY} or {SKULL_STRIPPED}"
    if card.kind is ModelKind.CLASSIFIER:
        names = [entry.name for entry in card.classes]
        return "" if len(set(names)) == len(names) >= 2 and not card.labels else "needs two or more classes, no labels"
    values = [label.value for label in card.labels]
    if not card.planes or not values or not 0 < card.threshold < 1:
        return "needs a plane, labels and a threshold between 0 and 1"
    if len(set(values)) != len(values) or not all(0 < value < 256 for value in values):
        return f"gives the label values {values}; they are different, from 1 to 255"
    if not card.spacing_mm > 0:
        return f"gives a spacing of {card.spacing_mm:g} mm"
    unknown = sorted({label for region in card.regions for label in region.labels} - set(values))
    return f"has regions of labels {unknown}, which it does not list" if unknown else ""


def _region(entry: Mapping[str, Any]) -> Region:
    return Region(str(entry["name"]), tuple(int(value) for value in entry["labels"]))


def _class(entry: Mapping[str, Any]) -> ModelClass:
    return ModelClass(str(entry["name"]), _code(entry["code"]))


def _variant(entry: Mapping[str, Any]) -> Variant:
    return Variant(str(entry["file"]), str(entry["sha256"]).lower(), str(entry["precision"]), str(entry["engine"]))


def _label(entry: Mapping[str, Any]) -> Label:
    red, green, blue = (int(component) for component in entry["colour_rgb"])
    return Label(
        value=int(entry["value"]),
        name=str(entry["name"]),
        category=_code(entry["category"]),
        type=_code(entry["type"]),
        region=_code(entry["region"]),
        colour_rgb=(red, green, blue),
    )


def _code(triple: Any) -> Code:
    value, scheme, meaning = (str(part) for part in triple)
    return Code(value, scheme, meaning)
