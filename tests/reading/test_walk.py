"""The quick walk over a header finds what pydicom finds, or nothing."""

from __future__ import annotations

import contextlib
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from dicom_gateway.reading import parse_object
from dicom_gateway.reading.walk import walk_header
from neuroscan_core.domain.errors import UnreadableObject

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def by_pydicom(data: bytes, offset: int) -> tuple[Dataset, int]:
    stream = BytesIO(data)
    stream.seek(offset)
    return read_dataset(stream, False, True, stop_when=lambda tag, vr, length: int(tag) == 0x7FE00010), stream.tell()


def test_real_headers_are_read_as_pydicom_reads_them(mr_data: Path) -> None:
    num_walked = 0
    for folder in mr_data.iterdir():
        for path in sorted(folder.iterdir())[:2] if folder.is_dir() else []:
            data = path.read_bytes()
            if pydicom.dcmread(path, specific_tags=[]).file_meta.TransferSyntaxUID.is_implicit_VR:
                continue
            offset = 144 + int.from_bytes(data[140:144], "little")
            if pydicom.dcmread(path, specific_tags=[]).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2":
                assert walk_header(data, offset) is None
                continue
            walked = walk_header(data, offset)
            assert walked is not None
            header, end = by_pydicom(data, offset)
            assert walked[1] == end
            assert list(walked[0].keys()) == list(header.keys())
            assert walked[0] == header
            assert walked[0].original_character_set == header.original_character_set
            num_walked += 1
    assert num_walked > 12


def test_sequences_and_character_sets_are_kept() -> None:
    ds = Dataset()
    ds.SpecificCharacterSet, ds.SOPInstanceUID, ds.PatientName = "ISO_IR 192", "1.2.3", "Ünï^Cödé"
    item = Dataset()
    item.CodeMeaning = "Größe"
    ds.ProcedureCodeSequence = [item]
    ds["ProcedureCodeSequence"].is_undefined_length = True
    ds.RequestAttributesSequence = [item]
    stream = BytesIO()
    ds.save_as(stream, implicit_vr=False, little_endian=True)
    walked = walk_header(stream.getvalue(), 0)
    assert walked is not None and walked[1] == len(stream.getvalue())
    assert walked[0] == ds
    assert walked[0].ProcedureCodeSequence[0].CodeMeaning == "Größe"
    assert walked[0].RequestAttributesSequence[0].CodeMeaning == "Größe"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64), st.integers(0, 100))
def test_damage_is_an_error_and_never_another_exception(noise: bytes, at: int) -> None:
    ds = Dataset()
    ds.SOPInstanceUID, ds.Modality, ds.Rows = "1.2.3", "MR", 4
    ds.ReferencedImageSequence = [Dataset()]
    stream = BytesIO()
    ds.save_as(stream, implicit_vr=False, little_endian=True)
    data = stream.getvalue()
    with contextlib.suppress(UnreadableObject):
        parse_object(data[:at] + noise + data[at + len(noise) :], "1.2.840.10008.1.2.1")
