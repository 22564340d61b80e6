"""Writes a deploy folder: network, card, reference, samples, programs and a page that says what to type.

The programs are in `device`, the samples in `samples`; the network's export is elsewhere.
"""

from __future__ import annotations

import json
import math
import shutil
import textwrap
from pathlib import Path
from typing import Any

from neuroscan_core.domain.errors import NeuroScanError
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.inference.bundle import Bundle
from neuroscan_core.inference.gate import check_against_reference
from neuroscan_core.inference.onnxruntime import OnnxRuntimeEngine
from neuroscan_core.inference.variants import variant_path
from neuroscan_core.phantom import Weighting
from training.deploy import device
from training.deploy.samples import write_samples
from training.triton.repository import output_names

# The programs look for these names, see `device/engines.py`.
ONNX, OLD_ONNX, HALF_ONNX = "model.onnx", "model-opset13.onnx", "model-fp16.onnx"
NEWEST_OPSET_OF_TENSORRT_8 = 13
REQUIREMENTS = """\
numpy
opencv-python
# TensorRT 8.2 or newer comes with JetPack (python3-libnvinfer), or from NVIDIA's index as `tensorrt`.
"""


class DeployError(NeuroScanError, ValueError):
    """A deploy folder cannot be written."""


def write_folder(bundle: Bundle, folder: Path, old_bundle: Bundle | None = None) -> Path:
    """Write the folder of a model.

    Parameters
    ----------
    bundle : Bundle
    folder : Path
        Absent, empty, or written for the same model before.
    old_bundle : Bundle, optional
        The same network with opset 13, for TensorRT 8 (JetPack 4 and 5).

    Raises
    ------
    DeployError
        The folder holds something else, or `old_bundle` is another network.
    """
    _check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for program in programs():
        shutil.copyfile(program, folder / program.name)
    _write_networks(bundle, old_bundle, folder)
    shutil.copyfile(bundle.folder / bundle.card.reference_file, folder / "reference.npz")
    card = json.dumps(device_card(bundle.card), indent=1, ensure_ascii=False) + "\n"
    (folder / "card.json").write_text(card, encoding="utf-8")
    (folder / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
    write_samples(bundle.card, folder / "samples")
    (folder / "README.md").write_text(_page(bundle.card, folder), encoding="utf-8")
    return folder


def programs() -> list[Path]:
    """The files that are copied to every folder."""
    return sorted(path for path in Path(device.__file__).parent.glob("*.py") if path.name != "__init__.py")


def device_card(card: ModelCard) -> dict[str, Any]:
    """What the programs have to know of a model."""
    return {
        "name": card.name,
        "version": card.version,
        "kind": card.kind.value,
        "input_name": card.input_name,
        "output_name": card.output_name,
        "channels": list(card.channels),
        "shown_channel": card.channels.index(Weighting.FLAIR.value) if Weighting.FLAIR.value in card.channels else 0,
        "size": list(card.size),
        "spacing_mm": 1.0 if math.isnan(card.spacing_mm) else card.spacing_mm,
        "spacing_tolerance": card.spacing_tolerance,
        "activation": card.activation,
        "threshold": card.threshold,
        "outputs": output_names(card),
        "labels": [{"value": e.value, "name": e.name, "colour_rgb": list(e.colour_rgb)} for e in card.labels],
        "onnx_sha256": card.onnx_sha256,
        "licence": card.licence,
    }


def _check_free(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "card.json").is_file():
        raise DeployError(f"{folder} holds something else.", remedy="Give a new or an empty folder.")


def _write_networks(bundle: Bundle, old_bundle: Bundle | None, folder: Path) -> None:
    for name in (OLD_ONNX, HALF_ONNX):
        (folder / name).unlink(missing_ok=True)
    shutil.copyfile(bundle.onnx_path, folder / ONNX)
    if old_bundle is not None:
        opset = int(old_bundle.card.raw["onnx"].get("opset", 0))
        if opset > NEWEST_OPSET_OF_TENSORRT_8:
            raise DeployError(
                f"{old_bundle.folder} has opset {opset}; TensorRT 8.2 reads {NEWEST_OPSET_OF_TENSORRT_8}.",
                remedy="Export it with --opset 13.",
            )
        with OnnxRuntimeEngine(old_bundle) as engine:
            check_against_reference(engine, bundle.reference)
        shutil.copyfile(old_bundle.onnx_path, folder / OLD_ONNX)
    for variant in bundle.card.variants_for("tensorrt", "fp16")[:1]:
        shutil.copyfile(variant_path(bundle, variant), folder / HALF_ONNX)


def _page(card: ModelCard, folder: Path) -> str:
    has_axis, has_old, has_half = len(card.channels) == 4, (folder / OLD_ONNX).is_file(), (folder / HALF_ONNX).is_file()
    notes = [
        f"Input: {card.sequence} as `.npy` or `.npz` ({'4, ' if has_axis else ''}slices, rows, columns): axial slices "
        "towards the head, row 0 anterior, column 0 patient right" + ("." if has_axis else "; or pictures."),
        f"`{OLD_ONNX}` is for TensorRT 8 (JetPack 4 and 5)."
        if has_old
        else "There is one ONNX file; TensorRT 8 (JetPack 4 and 5) reads it if its opset is 13 or lower.",
        f"`{HALF_ONNX}` gives FP16 on TensorRT 10.12 and newer."
        if has_half
        else "TensorRT 11 takes FP16 from an FP16 file alone; there is none here, so it gives FP32.",
        "`samples/` holds a generated head, of no patient. Small connected parts are kept here; the node removes them.",
    ]
    listed = "\n".join(_wrapped(f"- {note}", indent="  ") for note in notes)
    head = (
        f"{card.task}. Runs on an NVIDIA Jetson (JetPack 4.6 to 7), or wherever TensorRT 8.2 or newer is, on its own: "
    )
    return _PAGE.format(
        title=f"{card.name} {card.version}",
        head=_wrapped(head + "it needs Python 3.6 or newer, NumPy, OpenCV and TensorRT, all of which JetPack has."),
        notes=listed,
        licence=_wrapped(card.licence),
    )


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 100, subsequent_indent=indent, break_on_hyphens=False)


_PAGE = """\
# {title}

{head}

```
python3 convert.py      # builds the TensorRT plan for this GPU, FP16
python3 verify.py       # compares it with the reference; must say PASSED
python3 run.py          # segments samples/, or the path you give it, into out/, and prints how fast
```

Without a GPU, `verify.py` and `run.py` take `--engine opencv`, or `--engine onnxruntime` where that is installed.

{notes}

{licence}
"""
