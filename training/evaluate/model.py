"""What is evaluated: the network of a bundle on ONNX Runtime, of a run in PyTorch, or any engine of the node.

Here a network is opened and run over cases with its time taken. What is made of the probabilities is in `patient`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.inference.bundle import load_bundle
from training.data.cache import ArrayCache, CachedCase
from training.data.cases import CLASSES, VIEW_OF_KIND
from training.evaluate.patient import voxel_ml
from training.inference import CaseOptions, Predictor, onnx_predictor, predict_case, predict_pictures, torch_predictor
from training.postprocessing import Labels, Postprocessing, Probabilities

TTA_VIEWS = "identity, horizontal flip, vertical flip"


@dataclass(frozen=True)
class Model:
    """A network that can be evaluated.

    Parameters
    ----------
    name : str
        For people: name and version.
    kind : ModelKind
    predict : callable
        Normalised input to logits.
    executed_by : str
        What executes it and how, part of the protocol.
    postprocessing : Postprocessing
        Choices that came with it.
    options : CaseOptions, optional
        Spacing and patch of a volume3d network.
    picture_size : int
        Rows and columns of a classifier's input.
    class_names : tuple of str
        Of a classifier.
    """

    name: str
    kind: ModelKind
    predict: Predictor
    executed_by: str
    postprocessing: Postprocessing = field(default_factory=Postprocessing)
    options: CaseOptions | None = None
    picture_size: int = 0
    class_names: tuple[str, ...] = ()

    @property
    def view(self) -> str:
        """View of the data that feeds it."""
        return VIEW_OF_KIND[self.kind.value]

    def probabilities(self, cache: ArrayCache, case: CachedCase, *, tta: bool = False) -> tuple[Probabilities, float]:
        """Return the probabilities of a case, and the seconds that took."""
        began = time.perf_counter()
        found = predict_case(self.predict, cache, case, self.kind, options=self.options, tta=tta)
        return found, time.perf_counter() - began

    def classify(
        self, cache: ArrayCache, indices: Sequence[int], *, tta: bool = False
    ) -> tuple[npt.NDArray[np.float32], float]:
        """Return class probabilities of pictures, shape (N, classes), and the seconds that took."""
        began = time.perf_counter()
        found = predict_pictures(self.predict, cache, indices, self.picture_size, tta=tta)
        return found, time.perf_counter() - began


def model_of_card(card: ModelCard, predict: Predictor, executed_by: str) -> Model:
    """Return the model that a card describes."""
    is_volume = card.kind is ModelKind.VOLUME3D
    return Model(
        f"{card.name} {card.version}",
        card.kind,
        predict,
        executed_by,
        Postprocessing.from_card(card),
        CaseOptions.from_card(card) if is_volume else None,
        card.size[-1] if card.kind is ModelKind.CLASSIFIER else 0,
        tuple(entry.name for entry in card.classes),
    )


def open_bundle(folder: Path, num_threads: int = 1) -> Model:
    """Open the ONNX file of a bundle, the float32 one that the card names, on ONNX Runtime.

    Raises
    ------
    InvalidBundle
        A file is missing or is not the one of the card.
    """
    bundle = load_bundle(folder)
    return model_of_card(bundle.card, onnx_predictor(bundle.onnx_path, num_threads), "ONNX Runtime float32")


def open_run(folder: Path, num_threads: int = 1) -> Model:
    """Open the best weights of a run in PyTorch, for runs that are not exported yet.

    Raises
    ------
    ExportError
        The run has no weights, or they do not fit their network.
    """
    import torch

    from training.bundle.feed import feed_of
    from training.export.trained import read_trained

    torch.set_num_threads(num_threads)
    trained = read_trained(folder)
    feed = feed_of(trained)
    options = None
    if trained.kind is ModelKind.VOLUME3D:
        depth, height, width = feed.size
        options = CaseOptions(feed.spacing_mm, (depth, height, width))
    is_classifier = trained.kind is ModelKind.CLASSIFIER
    return Model(
        f"{trained.experiment or trained.name}, step {trained.step}",
        trained.kind,
        torch_predictor(trained.network),
        "PyTorch float32",
        Postprocessing(),
        options,
        feed.size[-1] if is_classifier else 0,
        CLASSES if is_classifier else (),
    )


class PredictionStore:
    """Probabilities of cases on disk, so that each case is predicted once however often it is looked at.

    Parameters
    ----------
    folder : pathlib.Path
        Receives one file per case and setting; the caller removes it.
    """

    def __init__(self, model: Model, cache: ArrayCache, folder: Path) -> None:
        self.model, self.cache = model, cache
        self._folder = folder
        self._seconds: dict[Path, float] = {}

    def get(self, case: CachedCase, *, tta: bool = False) -> Probabilities:
        """Return the probabilities of a case, shape (L, S, H, W), read-only."""
        path = self._path(case, tta)
        if path not in self._seconds:
            found, self._seconds[path] = self.model.probabilities(self.cache, case, tta=tta)
            np.save(path, found)
        stored: Probabilities = np.load(path, mmap_mode="r")
        return stored

    def labels(self, postprocessing: Postprocessing, case: CachedCase, *, tta: bool = False) -> Labels:
        """Return the label map of a case, shape (S, H, W)."""
        return postprocessing.apply(self.get(case, tta=tta), self.model.kind, voxel_ml(case))

    def seconds(self, case: CachedCase, *, tta: bool = False) -> float:
        """Return how long the network took for a case."""
        return self._seconds[self._path(case, tta)]

    def _path(self, case: CachedCase, tta: bool) -> Path:
        return self._folder / f"{case.name}{'-tta' if tta else ''}.npy"
