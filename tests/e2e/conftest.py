"""Fixtures of the whole: phantom series on disk, a node, an archive."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest

from dicom_gateway.phantom_series import write_phantom_series
from neuroscan_core.phantom import HeadPhantom, Weighting, head_phantom
from tests.dcmtk import dcmtk
from tests.e2e.node import RunningArchive, RunningNode

NUM_SLICES = 24


@dataclass(frozen=True)
class PhantomSeries:
    """A series on disk.

    Attributes
    ----------
    paths : list of Path
        Images from the neck to the crown.
    truth_kji : ndarray of bool
        Where the lesion is.
    """

    paths: list[Path]
    series_uid: str
    truth_kji: npt.NDArray[np.bool_]


@pytest.fixture(scope="session")
def phantom() -> HeadPhantom:
    """A small head: enough slices for a lesion, few enough to be quick."""
    return head_phantom(num_slices=NUM_SLICES)


@pytest.fixture
def phantom_series(tmp_path: Path, phantom: HeadPhantom) -> Callable[[str], PhantomSeries]:
    """Write a FLAIR series of the phantom; another name, other UIDs."""

    def write(name: str) -> PhantomSeries:
        folder = tmp_path / f"series-{name}"
        folder.mkdir()
        paths = write_phantom_series(folder, phantom, Weighting.FLAIR, series=name)
        uid = str(pydicom.dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID)
        return PhantomSeries(paths, uid, phantom.tumour_kji)

    return write


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[RunningArchive]:
    """The embedded archive."""
    running = RunningArchive(tmp_path / "archive")
    yield running
    running.stop()


@pytest.fixture
def node(tmp_path: Path, archive: RunningArchive) -> Iterator[RunningNode]:
    """A node that is not started yet and delivers to `archive`."""
    running = RunningNode(tmp_path, [archive.destination])
    yield running
    running.close()


def storescu(port: int, paths: list[Path], *options: str) -> None:
    """Send files with DCMTK, one association."""
    subprocess.run(
        [dcmtk("storescu"), "-R", *options, "-aec", "NEUROSCAN", "127.0.0.1", str(port), *map(str, paths)],
        check=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
