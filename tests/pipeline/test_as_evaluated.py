"""The node segments a study as training's evaluation does, from the same voxels."""

from __future__ import annotations

import numpy as np
import pytest

from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.pipeline.multimodal import segment_multimodal
from neuroscan_core.pipeline.normalise import volume_statistics
from neuroscan_core.pipeline.volume3d import segment_volume3d
from tests.pipeline.cards import multimodal_mapping, volume_mapping
from tests.pipeline.studies import ContrastEngine, accept_any_study, geometry, study

pytest.importorskip("torch")

SHAPE = (44, 48, 40)


def evaluated(card: ModelCard) -> np.ndarray:
    """Label map by training's code, from the voxels as its cache holds them."""
    from training.data.cache import ArrayCache, CachedCase
    from training.inference import predict_case
    from training.postprocessing import Postprocessing

    voxels = study(geometry(SHAPE, (1.0, 1.0, 1.0))).voxels_CKJI
    mean, std = zip(*(volume_statistics(channel) for channel in voxels), strict=True)
    case = CachedCase("case", "brats", 0, SHAPE[0], mean=mean, std=std)
    images, nothing = np.ascontiguousarray(voxels.transpose(1, 0, 2, 3)), np.zeros(0)
    cache = ArrayCache("multimodal", images, np.zeros((0, 0, 0), np.uint8), (case,), nothing, nothing, nothing)
    engine = ContrastEngine(card)
    probabilities = predict_case(
        lambda batch: engine.run(np.ascontiguousarray(batch)),
        cache,
        case,
        card.kind,
        options=card,  # type: ignore[arg-type]
    )
    return np.asarray(Postprocessing.from_card(card).apply(probabilities, card.kind, 0.001))


def test_slices_of_a_study_become_the_labels_that_were_evaluated() -> None:
    card = ModelCard.from_mapping(multimodal_mapping(input=multimodal_mapping()["input"] | {"size": list(SHAPE[1:])}))
    stack = geometry(SHAPE, (1.0, 1.0, 1.0))
    found = segment_multimodal(study(stack), ContrastEngine(card), check=accept_any_study)
    assert set(np.unique(found.labels_kji)) == {0, 1, 2, 3}
    assert np.array_equal(found.labels_kji, evaluated(card))


@pytest.mark.parametrize("network_mm", [1.0, 2.0])
def test_a_volume_becomes_the_labels_that_were_evaluated(network_mm: float) -> None:
    mapping = volume_mapping()
    card = ModelCard.from_mapping(mapping | {"input": mapping["input"] | {"spacing_mm": network_mm}})
    assert card.kind is ModelKind.VOLUME3D
    stack = geometry(SHAPE, (1.0, 1.0, 1.0))
    found = segment_volume3d(study(stack), ContrastEngine(card), check=accept_any_study).labels_kji
    wanted = evaluated(card)
    # Cutting out the head changes where patches lie, and with it the rounding of their weighted sums.
    assert np.count_nonzero(found != wanted) <= 0.001 * np.count_nonzero(wanted)
    assert set(np.unique(found)) == {0, 1, 2, 3}
