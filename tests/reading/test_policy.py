"""What a header says of itself decides whether it may be segmented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from dicom_gateway.reading import classify, is_lossy, require_referable_frames
from neuroscan_core.config import LossyPolicy, SeriesConfig
from neuroscan_core.domain.errors import RejectionCode, SeriesRejection

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
MakeImage = Callable[..., Dataset]


def code_of(ds: Dataset, config: SeriesConfig | None = None) -> RejectionCode | None:
    try:
        classify(ds, config or SeriesConfig())
    except SeriesRejection as rejection:
        return rejection.code
    return None


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"Modality": "CT"}, RejectionCode.WRONG_MODALITY),
        ({"Modality": None}, RejectionCode.WRONG_MODALITY),
        ({"SOPClassUID": uid.SecondaryCaptureImageStorage}, RejectionCode.WRONG_SOP_CLASS),
        ({"SOPClassUID": uid.MRSpectroscopyStorage}, RejectionCode.WRONG_SOP_CLASS),
        ({"SOPClassUID": uid.EnhancedMRColorImageStorage}, RejectionCode.NOT_GREYSCALE),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, RejectionCode.NOT_GREYSCALE),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, RejectionCode.NOT_GREYSCALE),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, RejectionCode.LOCALIZER),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, RejectionCode.DERIVED_IMAGE),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]}, RejectionCode.DERIVED_IMAGE),
        ({"ComplexImageComponent": "PHASE"}, RejectionCode.DERIVED_IMAGE),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "ADC_UNSPECIFIED", "ADC", "SE"]}, RejectionCode.DERIVED_IMAGE),
        ({"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "FA", "ND"]}, RejectionCode.DERIVED_IMAGE),
        ({"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE", "MIP"]}, RejectionCode.DERIVED_IMAGE),
        ({"ImageType": ["DERIVED", "SECONDARY", "OTHER"]}, RejectionCode.DERIVED_IMAGE),
        ({"LossyImageCompression": "01"}, RejectionCode.LOSSY_COMPRESSED),
        ({"BodyPartExamined": "KNEE"}, RejectionCode.WRONG_BODY_PART),
    ],
)
def test_unfit_images_are_refused(make_image: MakeImage, attributes: dict[str, Any], code: RejectionCode) -> None:
    assert code_of(make_image(**attributes)) is code


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"ImageType": ["DERIVED", "SECONDARY", "MPR", "CSA MPR"]},
        {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "R_IR", "R", "IR"], "ComplexImageComponent": "REAL"},
        {"ImageType": None},
        {"BodyPartExamined": None},
        {"BodyPartExamined": ""},
        {"BodyPartExamined": "brain"},
        {"LossyImageCompression": "00"},
        {"PhotometricInterpretation": "MONOCHROME1"},
    ],
)
def test_sound_images_are_accepted(make_image: MakeImage, attributes: dict[str, Any]) -> None:
    assert code_of(make_image(**attributes)) is None


def test_the_configuration_may_accept_more(make_image: MakeImage) -> None:
    derived = make_image(
        ImageType=["DERIVED", "SECONDARY", "OTHER"], LossyImageCompression="01", BodyPartExamined="KNEE"
    )
    assert code_of(derived, SeriesConfig(accept_derived=True, lossy=LossyPolicy.ACCEPT, body_parts=())) is None


@pytest.mark.parametrize(
    ("syntax", "flag", "expected"),
    [
        (uid.ExplicitVRLittleEndian, None, False),
        (uid.JPEGBaseline8Bit, "00", True),
        (uid.JPEG2000, None, True),
        (uid.JPEG2000, "00", False),
        (uid.JPEG2000Lossless, None, False),
        (uid.JPEGLSNearLossless, "01", True),
    ],
)
def test_loss_shows_in_flag_or_transfer_syntax(
    make_image: MakeImage, syntax: uid.UID, flag: str | None, expected: bool
) -> None:
    ds = make_image()
    ds.file_meta.TransferSyntaxUID = syntax
    if flag is not None:
        ds.LossyImageCompression = flag
    assert is_lossy(ds) is expected


def test_a_mosaic_may_be_read_but_not_referred_to(make_image: MakeImage) -> None:
    mosaic = make_image(ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    assert code_of(mosaic) is None
    with pytest.raises(SeriesRejection) as caught:
        require_referable_frames(mosaic)
    assert caught.value.code is RejectionCode.MISSING_GEOMETRY
