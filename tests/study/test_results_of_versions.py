"""Results of studies in the gateway while newer versions of the same study are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_gateway.gateway import Gateway
from dicom_gateway.journal import ResultRecord, SeriesState
from neuroscan_core.bus.memory import InMemoryBus
from neuroscan_core.config import parse_config
from neuroscan_core.domain.events import SegmentationReady, StudyReady, StudySource
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.requests import SubmitSegmentation
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation
from neuroscan_core.domain.study import SEQUENCES
from neuroscan_core.domain.volume import FrameKey

MODELS = Path(__file__).parent / "models"
JOB = "2.25.9"
GEOMETRY = StackGeometry(SliceGeometry((0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0), (1.0, 1.0), (4, 4)), 1.0, 2)
KEYS = (FrameKey("1.1"), FrameKey("1.2"))


class Writer:
    """Writes nothing; something else may happen meanwhile."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] = lambda: None
        self.versions: list[int] = []

    def write_rest(self, completed: Any, result: SegmentationReady, *_: object) -> list[ResultRecord]:
        self.versions.append(result.version)
        self.meanwhile()
        return []


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    config = parse_config({
        "state_dir": str(tmp_path), "segmenter": {"models_dir": str(MODELS)},
        "studies": [{"name": "tumour", "model": "unet-tiny"}],
    })  # fmt: skip
    with closing(InMemoryBus()) as bus:
        made = Gateway(config, bus)
        made._journal.open_study(
            JOB, "1.9", name="tumour", model="unet-tiny", priority=0, modality="MR", opened_at_s=1.0
        )
        made._writer = Writer()  # type: ignore[assignment]
        yield made
        made._assembler.close()
        made._journal.close()


def tell(gateway: Gateway, version: int) -> None:
    sources = tuple(StudySource(name, f"1.{k}", version, KEYS, GEOMETRY) for k, name in enumerate(SEQUENCES))
    gateway._desk._tell(StudyReady(JOB, 0, "unet-tiny", sources, "FLAIR", version), 1.0)


def submit(gateway: Gateway, version: int) -> bool:
    segmentation = Segmentation(GEOMETRY, KEYS, np.zeros(GEOMETRY.shape, np.uint8), ())
    result = SegmentationReady(JOB, version, segmentation, ModelIdentity("unet-tiny", "1", "ab" * 32, "cpu"))
    return gateway._accept_segmentation(SubmitSegmentation(result)).is_new


def state(gateway: Gateway) -> SeriesState:
    row = gateway._journal.series(JOB)
    assert row is not None
    return row.state


def fail() -> None:
    raise ValueError("made to fail")


@pytest.mark.parametrize("then", [lambda: None, fail])
def test_a_version_that_is_told_while_the_result_of_another_is_written_gets_its_result(
    gateway: Gateway, then: Callable[[], None]
) -> None:
    writer: Any = gateway._writer

    def meanwhile() -> None:
        tell(gateway, 2)
        then()

    writer.meanwhile = meanwhile
    tell(gateway, 1)
    assert submit(gateway, 1)
    assert state(gateway) is SeriesState.COMPLETE
    writer.meanwhile = lambda: None
    assert submit(gateway, 2)
    assert (state(gateway), writer.versions) == (SeriesState.SEGMENTED, [1, 2])
    assert not submit(gateway, 2) and not submit(gateway, 1)
    assert writer.versions == [1, 2]
