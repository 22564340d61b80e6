"""What a series shows, by its header: typical headers of four vendors, contradictions, and series of real scanners."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence

from dicom_gateway.reading import read_header
from dicom_gateway.study.facts import sequence_facts
from dicom_gateway.study.roles import role_of
from neuroscan_core.domain.study import SEQUENCES
from tests.study.headers import HEADERS, classic, header


@pytest.mark.parametrize(("role", "values"), [row[1:] for row in HEADERS], ids=[row[0] for row in HEADERS])
def test_typical_headers_are_judged_right_with_a_reason(role: str, values: dict[str, Any]) -> None:
    verdict = role_of(header(**values))
    assert verdict.role == role, verdict
    assert len(verdict.why) > 15


def item(**values: Any) -> Sequence:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return Sequence([ds])


def enhanced(
    *, tr: float, te: float, ti: float | None = None, echo: str = "SPIN", administered: str = "", **top: Any
) -> Dataset:
    """An enhanced multi-frame header (PS3.3 A.36) with shared functional groups."""
    shared = Dataset()
    shared.MRTimingAndRelatedParametersSequence = item(RepetitionTime=tr, FlipAngle=90.0)
    shared.MREchoSequence = item(EffectiveEchoTime=te)
    if ti is not None:
        shared.MRModifierSequence = item(InversionRecovery="YES", InversionTimes=[ti])
    if administered:
        shared.ContrastBolusUsageSequence = item(ContrastBolusAgentAdministered=administered)
    ds = header(EchoPulseSequence=echo, **top)
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = item(FrameContentSequence=item(FrameAcquisitionNumber=1))
    return ds


AGENT = {
    "ContrastBolusAgentSequence": item(CodeValue="C-B0322", CodingSchemeDesignator="SRT", CodeMeaning="Gadolinium")
}


@pytest.mark.parametrize(
    ("ds", "role"),
    [
        (enhanced(tr=9000.0, te=120.0, ti=2500.0), "FLAIR"),
        (enhanced(tr=4000.0, te=100.0), "T2"),
        (enhanced(tr=8.0, te=3.7, echo="GRADIENT"), "T1"),
        (enhanced(tr=600.0, te=12.0, **AGENT), "T1ce"),
        (enhanced(tr=600.0, te=12.0, administered="NO", **AGENT), "T1"),
        (enhanced(tr=600.0, te=12.0, AcquisitionContrast="DIFFUSION"), "other"),
        (enhanced(tr=2000.0, te=30.0, echo="GRADIENT", EchoPlanarPulseSequence="YES"), "other"),
    ],
    ids=["flair", "t2", "t1", "t1ce", "not administered", "diffusion", "echo planar"],
)
def test_functional_groups_of_enhanced_images_say_the_same(ds: Dataset, role: str) -> None:
    assert role_of(ds).role == role


def test_acquisition_contrast_decides_where_there_is_no_timing() -> None:
    verdict = role_of(header(AcquisitionContrast="FLUID_ATTENUATED"))
    assert verdict.role == "FLAIR"
    assert "AcquisitionContrast" in verdict.why


def test_attributes_outweigh_words_and_the_contradiction_is_reported() -> None:
    verdict = role_of(header(**classic("AX FLAIR", "SE", 4500, 100)))
    assert verdict.role == "T2"
    assert verdict.contradictions == ("the description 'AX FLAIR' says FLAIR; attributes outweigh words.",)


def test_an_agent_in_the_header_outweighs_a_description_without_and_is_reported() -> None:
    verdict = role_of(header(**classic("AX T1 PRE", "SE", 500, 12, ContrastBolusAgent="Dotarem")))
    assert verdict.role == "T1ce"
    assert any("without contrast" in what for what in verdict.contradictions)


def test_contrast_by_description_alone_says_so() -> None:
    verdict = role_of(header(**classic("AX T1 POST", "SE", 500, 12)))
    assert verdict.role == "T1ce"
    assert "names no agent" in verdict.why


@pytest.mark.parametrize(
    ("description", "role"),
    [
        ("AX T1 POST NON FS", "T1ce"),
        ("AX T1 POST NO FAT SAT", "T1ce"),
        ("T1 SE KM ohne FS", "T1ce"),
        ("T1 without fatsat", "T1"),
        ("AX T1 NON CONTRAST", "T1"),
        ("T1 ohne KM", "T1"),
        ("AX T1 W/O GAD FS", "T1"),
    ],
)
def test_what_is_without_fat_saturation_is_not_without_contrast(description: str, role: str) -> None:
    assert role_of(header(**classic(description, "SE", 500, 12))).role == role


def test_contrast_agent_does_not_change_flair_or_t2() -> None:
    for values, role in (
        (classic("FLAIR +C", "SE\\IR", 9000, 120, 2500), "FLAIR"),
        (classic("T2", "SE", 4500, 100), "T2"),
    ):
        assert role_of(header(ContrastBolusAgent="GADOVIST", **values)).role == role


def test_values_that_are_no_numbers_count_as_absent(tmp_path: Path) -> None:
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = pydicom.uid.MRImageStorage, "1.2.3"
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.add(pydicom.DataElement("EchoTime", "LO", "n/a"))
        ds.SeriesDescription = "AX FLAIR"
        ds.save_as(tmp_path / "odd.dcm", enforce_file_format=True)
    found = read_header(tmp_path / "odd.dcm")
    assert sequence_facts(found).echo_ms is None
    assert role_of(found).role == "FLAIR"


HOSTILE = [b"", b"inf ", b"-inf", b"nan ", b"1e400", b"abc", b"1\\2\\3", b"\\\\", b"9" * 400, bytes(7), b"\xff\xfe\0"]
KEYWORDS = ["RepetitionTime", "EchoTime", "InversionTime", "EchoTrainLength", "NumberOfTemporalPositions",
            "DiffusionBValue", "ScanningSequence", "ContrastBolusAgentSequence"]  # fmt: skip


@pytest.mark.parametrize("vr", [None, "DS", "IS", "FD", "US", "LO", "SQ", "UN"])
@pytest.mark.parametrize("keyword", KEYWORDS)
def test_no_header_ends_the_judgement(keyword: str, vr: str | None) -> None:
    tag = pydicom.tag.Tag(keyword)
    for value in HOSTILE:
        inner, outer = pydicom.Dataset(), pydicom.Dataset()
        inner._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, vr is None, True)
        outer.SharedFunctionalGroupsSequence = [inner]
        outer.SeriesDescription = inner.SeriesDescription = "AX FLAIR"
        for ds in (inner, outer):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert role_of(ds).role in (*SEQUENCES, "other")


# What there is of real scanners: no tumour protocol, and only the anatomical T1 images show one of its weightings.
REAL = {
    "ge_signa_pioneer_t1_mprage": "T1",
    "siemens_prisma_xa30_enhanced_t1w": "T1",
    "philips_elition_pcasl_classic": "other",
    "philips_elition_pcasl_enhanced": "other",
    "siemens_prisma_xa30_enhanced_color_fa": "other",
    "siemens_trio_mosaic_jpeg2000": "other",
    "siemens_trio_mosaic_jpeg_lossless": "other",
    "siemens_trio_mosaic_uncompressed": "other",
    "siemens_trio_transfer_syntaxes": "other",
    "toshiba_galan_dwi_b0": "other",
    "philips_achieva_enhanced_b0": "other",
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # real headers violate value rules; pydicom says so
@pytest.mark.parametrize("folder", REAL)
def test_series_of_real_scanners(folder: str, shared_data: Path) -> None:
    paths = [path for path in sorted((shared_data / "dicom_mr" / folder).iterdir()) if path.is_file()]
    verdict = role_of(read_header(paths[0]))
    assert verdict.role == REAL[folder], verdict
