"""Writing a model bundle: ONNX file, reference logits, model card.

The card's words about data and licences are here, because they belong to the
split that a network was trained on. The node reads bundles with its own code.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from neuroscan_core.pipeline.grid import MODEL_SIZE, SPACING_TOLERANCE, WORKING_SPACING_MM
from neuroscan_core.pipeline.normalise import NORMALISATION
from training.card_page import card_page
from training.checkpoint import load_checkpoint
from training.data.cases import BRATS, LGG
from training.data.splits import BRATS_SIZES, LGG_SIZES
from training.export import INPUT_NAME, OPSET, OUTPUT_NAME, export_onnx
from training.networks import build_network
from training.phantom import reference_windows

log = logging.getLogger(__name__)
NAME = "mobilenetv2-unet-flair"
MODEL_FILE, CARD_FILE, REFERENCE_FILE = "model.onnx", "model.yaml", "reference.npz"
PAGE_FILE = "README.md"

TRAINING_DATA = [
    {
        "name": "LGG Segmentation Dataset (TCGA-LGG, FLAIR, with skull), 60 of 110 patients",
        "patients": LGG_SIZES,
        "licence": "CC BY-NC-SA 4.0 as listed by its publisher; images at TCIA CC BY 3.0",
        "citation": "Buda 2019, 10.1016/j.compbiomed.2019.05.002; Mazurowski 2017, 10.1007/s11060-017-2420-1",
    },
    {
        "name": "BraTS 2018/2021 challenge volumes (FLAIR, skull-stripped), 25 patients",
        "patients": BRATS_SIZES,
        "licence": "unclear: challenge terms (registration, citation); research only",
        "citation": "Menze 2015, 10.1109/TMI.2014.2377694; Bakas 2017, 10.1038/sdata.2017.117; "
        "Bakas 2018, arXiv:1811.02629; Baid 2021, arXiv:2107.02314",
    },
]
LICENCE = (
    "Weights: research only, non-commercial. Trained on the LGG Segmentation Dataset "
    "(CC BY-NC-SA 4.0) and on BraTS challenge data (terms unclear, research only). "
    "Not a medical device; not for diagnosis."
)
SET_NAMES = {LGG: "LGG Segmentation Dataset", BRATS: "BraTS 2018/2021"}


def write_bundle(
    weights: Path,
    folder: Path,
    version: str,
    postprocessing: Path | None = None,
    metrics: Path | None = None,
) -> None:
    """Export a checkpoint into a bundle folder.

    Parameters
    ----------
    weights : pathlib.Path
        `best.pt` of a run.
    folder : pathlib.Path
        Made where absent.
    postprocessing, metrics : pathlib.Path, optional
        `postprocessing.json` and `test.json` (or `val.json`) of an evaluation.

    Raises
    ------
    ExportError
        If the ONNX file is not equal to the network.
    """
    state = load_checkpoint(weights)
    network = build_network(state["network"])
    network.load_state_dict(state["weights"])
    folder.mkdir(parents=True, exist_ok=True)
    windows = reference_windows()
    logits = export_onnx(network, folder / MODEL_FILE, windows)
    np.savez_compressed(folder / REFERENCE_FILE, image=windows, logits=np.round(logits, 4).astype(np.float32))
    chosen = _read_json(postprocessing) or {"threshold": 0.5, "min_component_ml": 0.5}
    card = make_card(
        version,
        hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest(),
        sum(parameter.numel() for parameter in network.parameters()),
        chosen,
        _metrics_of(_read_json(metrics)),
    )
    text = yaml.safe_dump(card, sort_keys=False, default_flow_style=None, width=100)
    (folder / CARD_FILE).write_text(text, encoding="utf-8")
    (folder / PAGE_FILE).write_text(card_page(card), encoding="utf-8")
    log.info("wrote %s, step %s of its run", folder, state["step"])


def make_card(
    version: str,
    sha256: str,
    num_parameters: int,
    postprocessing: dict[str, float],
    metrics: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return the content of `model.yaml`."""
    return {
        "name": NAME,
        "version": version,
        "kind": "slice25d",
        "task": "Whole-tumour segmentation in FLAIR MR images of the brain",
        "modality": "MR",
        "input": {
            "name": INPUT_NAME,
            "channels": ["z-1", "z", "z+1"],
            "sequence": "FLAIR",
            "size": list(MODEL_SIZE),
            "spacing_mm": WORKING_SPACING_MM,
            "spacing_tolerance": SPACING_TOLERANCE,
            "planes": ["axial"],
            "normalisation": NORMALISATION,
        },
        "output": {
            "name": OUTPUT_NAME,
            "activation": "sigmoid",
            "threshold": postprocessing["threshold"],
        },
        "postprocessing": {"min_component_ml": postprocessing["min_component_ml"]},
        "labels": [
            {
                "value": 1,
                "name": "whole tumour",
                "category": ["49755003", "SCT", "Morphologically Abnormal Structure"],
                "type": ["108369006", "SCT", "Neoplasm"],
                "region": ["12738006", "SCT", "Brain"],
                "colour_rgb": [230, 159, 0],
            }
        ],
        "training_data": TRAINING_DATA,
        "metrics": metrics,
        "licence": LICENCE,
        "onnx": {
            "file": MODEL_FILE,
            "sha256": sha256,
            "opset": OPSET,
            "parameters": num_parameters,
        },
        "reference": {"file": REFERENCE_FILE},
    }


def _metrics_of(results: dict[str, Any] | None) -> list[dict[str, Any]]:
    if results is None:
        return []
    part = {"val": "validation", "test": "test"}.get(results["part"], results["part"])
    entries = []
    for name, summary in results["sets"].items():
        figures = {
            key: [round(v, 4) for v in value] if isinstance(value, list) else round(value, 4)
            for key, value in summary.items()
        }
        data = f"{SET_NAMES[name]}, {part} patients"
        entries.append({"data": data, "protocol": results["protocol"], **figures})
    return entries


def _read_json(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
