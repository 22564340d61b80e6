"""Series of every geometry, a writer, and a real archive."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from dicom_gateway.results import ResultWriter, SourceHeaders
from neuroscan_core.config import GatewayConfig, ResultsConfig
from tests.orthanc import running_orthanc

from .series import OBLIQUE, Series, classic_series, enhanced_series, real_series

SHARED = Path(os.environ.get("NEUROSCAN_SHARED", Path(__file__).parents[2].parent / "shared"))
GENERATED: dict[str, Callable[[], Series]] = {
    "axial": classic_series,
    "oblique": lambda: classic_series("oblique", orientation=OBLIQUE),
    "sagittal": lambda: classic_series("sagittal", orientation=(0, 1, 0, 0, 0, -1), descending=True),
    "coronal": lambda: classic_series("coronal", orientation=(1, 0, 0, 0, 0, -1)),
    "anisotropic": lambda: classic_series("anisotropic", spacing_mm=(3.0, 0.5, 0.8), shape=(9, 51, 37)),
    "enhanced": enhanced_series,
    "enhanced per-frame": lambda: enhanced_series("per-frame", shared_orientation=False, reverse=True),
}
REAL = {
    "GE": "ge_signa_pioneer_t1_mprage",
    "Philips classic": "philips_elition_pcasl_classic",
    "Philips enhanced": "philips_elition_pcasl_enhanced",
    "Siemens enhanced": "siemens_prisma_xa30_enhanced_t1w",
}


def load(name: str) -> Series:
    """A series by its name; skips where real data is absent."""
    if name in GENERATED:
        return GENERATED[name]()
    folder = SHARED / "data" / "dicom_mr" / REAL[name]
    if not folder.is_dir():
        pytest.skip(f"real MR data is not at {folder}")
    return real_series(folder)


_loaded: dict[str, Series] = {}


@pytest.fixture(params=[*GENERATED, *REAL])
def series(request: pytest.FixtureRequest) -> Series:
    """Every geometry, generated and real."""
    name = request.param
    if name not in _loaded:
        _loaded[name] = load(name)
    return _loaded[name]


@pytest.fixture(params=["axial", "anisotropic", "enhanced per-frame"])
def one_of_each(request: pytest.FixtureRequest) -> Series:
    """A few series that differ in all that matters, for what is slow or depends little on geometry."""
    return load(request.param)


@pytest.fixture
def make_writer(tmp_path: Path) -> Callable[..., ResultWriter]:
    """A writer into `tmp_path` that knows a series; keywords are keys of the results section."""

    def make(series: Series, *, folder: Path = tmp_path, **results: object) -> ResultWriter:
        headers = SourceHeaders(lambda uid: series.datasets if uid == series.uid else [])
        return ResultWriter(
            ResultsConfig(**results), GatewayConfig(), folder, headers,
            clock=lambda: 1_800_000_000.0, registry=CollectorRegistry(),
        )  # fmt: skip

    return make


class Orthanc:
    """A real archive on loopback."""

    def __init__(self, dicom_port: int, http_port: int) -> None:
        self.dicom_port, self.http_port = dicom_port, http_port

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=30) as answer:
            return bytes(answer.read())

    def find(self, sop_uid: str) -> str:
        """Orthanc's name of an instance."""
        query = json.dumps({"Level": "Instance", "Query": {"SOPInstanceUID": sop_uid}}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}/tools/find", data=query)
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = json.load(answer)
        assert len(found) == 1, f"{len(found)} instances with this UID"
        return str(found[0])


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    settings = {"UnknownSopClassAccepted": True}  # label maps are unknown to older ones
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), settings) as ports:
        yield Orthanc(*ports)
