"""The card of a model bundle (`model.yaml`): what a network takes, gives, was trained on and is licensed for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from neuroscan_core.domain.codes import Code
from neuroscan_core.domain.errors import InvalidBundle
from neuroscan_core.domain.geometry import Plane


class ModelKind(str, Enum):
    """How a model is fed."""

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
class ModelCard:
    """What `model.yaml` says.

    Parameters
    ----------
    input_name, output_name : str
        Tensor names in the ONNX file.
    channels : tuple of str
        Meaning of each input channel, e.g. ``("z-1", "z", "z+1")``.
    size : tuple of 2 int
        Rows and columns of the network's input.
    spacing_mm : float
        Pixel spacing that the network expects.
    spacing_tolerance : float
        Images within this fraction of `spacing_mm` are not resampled.
    planes : tuple of Plane
        Acquisition planes that are fed slice by slice; others are reformatted to the first of these.
    threshold : float
        Probability from which a voxel belongs to the region.
    min_component_ml : float
        Smaller connected parts are removed.
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
    size: tuple[int, int]
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

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> ModelCard:
        """Read a parsed `model.yaml`.

        Raises
        ------
        InvalidBundle
            A key is missing or has a value that cannot be used; the message names it.
        """
        try:
            image, output, onnx = raw["input"], raw["output"], raw["onnx"]
            card = cls(
                name=str(raw["name"]),
                version=str(raw["version"]),
                kind=ModelKind(raw["kind"]),
                task=str(raw["task"]),
                modality=str(raw["modality"]),
                sequence=str(image["sequence"]),
                input_name=str(image["name"]),
                output_name=str(output["name"]),
                channels=tuple(str(channel) for channel in image["channels"]),
                size=(int(image["size"][0]), int(image["size"][1])),
                spacing_mm=float(image["spacing_mm"]),
                spacing_tolerance=float(image["spacing_tolerance"]),
                planes=tuple(Plane(plane) for plane in image["planes"]),
                normalisation=str(image["normalisation"]),
                activation=str(output["activation"]),
                threshold=float(output["threshold"]),
                min_component_ml=float(raw.get("postprocessing", {}).get("min_component_ml", 0.0)),
                labels=tuple(_label(entry) for entry in raw["labels"]),
                licence=str(raw["licence"]),
                onnx_file=str(onnx["file"]),
                onnx_sha256=str(onnx["sha256"]).lower(),
                reference_file=str(raw.get("reference", {}).get("file", "")),
                raw=raw,
            )
        except KeyError as exc:
            raise InvalidBundle(f"The model card lacks the key {exc}.", remedy="Export the bundle again.") from exc
        except (TypeError, ValueError, IndexError) as exc:
            raise InvalidBundle(f"The model card cannot be used: {exc}.", remedy="Export the bundle again.") from exc
        if not card.planes or not card.labels or not 0 < card.threshold < 1:
            raise InvalidBundle("The model card needs a plane, a label and a threshold between 0 and 1.")
        return card


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
