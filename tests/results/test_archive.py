"""Storing into a real archive over C-STORE and reading back what it kept."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pynetdicom import AE

from dicom_gateway.results import ResultWriter
from neuroscan_core.config import SegFormat

from .conftest import Orthanc
from .series import card, classic_series, enhanced_series

SUCCESS = 0x0000  # PS3.4 B.2.3


def store(orthanc: Orthanc, objects: list[pydicom.Dataset]) -> list[int]:
    """Send objects on one association; their statuses."""
    ae = AE()
    for ds in objects:
        ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    assoc = ae.associate("127.0.0.1", orthanc.dicom_port, ae_title="ORTHANC")
    assert assoc.is_established
    try:
        return [int(assoc.send_c_store(ds).Status) for ds in objects]
    finally:
        assoc.release()


def test_orthanc_keeps_every_result_as_it_was_sent(
    orthanc: Orthanc, make_writer: Callable[..., ResultWriter], tmp_path: Path
) -> None:
    for series in (classic_series("stored"), enhanced_series("stored enhanced")):
        image_ji = np.ones(series.geometry.first.shape, np.float32)
        writer = make_writer(series, secondary_capture=True)
        records = writer.write(
            series.completed(), series.result(), card(), list(SegFormat), lambda _, image_ji=image_ji: image_ji
        )
        objects = [pydicom.dcmread(tmp_path / record.path) for record in records]
        assert store(orthanc, objects) == [SUCCESS] * len(records)
        for sent in objects:
            kept = pydicom.dcmread(io.BytesIO(orthanc.get(f"/instances/{orthanc.find(sent.SOPInstanceUID)}/file")))
            assert kept.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
            assert kept == sent


def test_orthanc_shows_the_result_in_the_study_of_its_source(
    orthanc: Orthanc, make_writer: Callable[..., ResultWriter], tmp_path: Path
) -> None:
    series = classic_series("same study")
    (record,) = make_writer(series, sr=False).write(series.completed(), series.result(), card())
    seg = pydicom.dcmread(tmp_path / record.path)
    assert set(store(orthanc, [*series.datasets, seg])) == {SUCCESS}
    names = {orthanc.get(f"/instances/{orthanc.find(ds.SOPInstanceUID)}/study") for ds in (series.datasets[0], seg)}
    assert len(names) == 1
