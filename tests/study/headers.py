"""Headers as scanners of four vendors write them for protocols of the head; the values that tell weightings apart."""

from __future__ import annotations

from typing import Any

from pydicom import Dataset

MP, SPOILED = ["SK", "SP", "MP"], ["SS", "SP", "SK"]
Row = tuple[str, str, dict[str, Any]]


def header(**values: Any) -> Dataset:
    ds = Dataset()
    ds.Modality = "MR"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def classic(
    description: str, sequence: str, tr: float, te: float, ti: float | None = None, **more: Any
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "SeriesDescription": description,
        "ScanningSequence": sequence.split("\\"),
        "RepetitionTime": tr,
        "EchoTime": te,
    }
    if ti is not None:
        values["InversionTime"] = ti
    return values | more


# Name of the case, role, attributes.
HEADERS: list[Row] = [
    # Siemens
    ("siemens mprage", "T1", classic("t1_mprage_sag_p2_iso", "GR\\IR", 2300, 2.32, 900, SequenceVariant=MP,
     SequenceName="*tfl3d1_16ns", FlipAngle=8)),
    ("siemens mprage km", "T1ce", classic("t1_mprage_tra_KM", "GR\\IR", 1900, 2.5, 900, SequenceVariant=MP,
     FlipAngle=9)),
    ("siemens mprage agent", "T1ce", classic("t1_mprage_tra", "GR\\IR", 1900, 2.5, 900, ContrastBolusAgent="Gadovist")),
    ("siemens mprage nativ", "T1", classic("t1_mprage_tra_nativ", "GR\\IR", 1900, 2.5, 900)),
    ("siemens ohne km", "T1", classic("t1_se_tra ohne KM", "SE", 550, 12)),
    ("siemens dark-fluid", "FLAIR", classic("t2_tirm_tra_dark-fluid", "SE\\IR", 9000, 81, 2500,
     SequenceName="*tir2d1rr16", SequenceVariant=MP)),
    ("siemens space flair", "FLAIR", classic("t2_space_dark-fluid_sag_p2", "SE\\IR", 5000, 387, 1800, FlipAngle=120)),
    ("siemens tse", "T2", classic("t2_tse_tra_512", "SE", 6100, 103, SequenceVariant=["SK", "SP", "OSP"])),
    ("siemens space t2", "T2", classic("t2_space_sag_iso", "SE", 3200, 408)),
    ("siemens vibe", "T1ce", classic("t1_vibe_fs_tra post", "GR", 6.2, 2.5, FlipAngle=10, SequenceVariant=SPOILED)),
    # GE
    ("ge bravo", "T1", classic("Ax 3D T1 BRAVO", "GR", 8.2, 3.2, 450, SequenceVariant=SPOILED, FlipAngle=12)),
    ("ge bravo +c", "T1ce", classic("Ax T1 BRAVO +C", "GR", 8.2, 3.2, 450, SequenceVariant=SPOILED)),
    ("ge mprage research", "T1", classic("3D Ax T1 MP-RAGE_R22", "RM\\IR", 2217.66, 3.172, 1000, FlipAngle=8)),
    ("ge t1 flair", "T1", classic("Ax T1 FLAIR", "SE\\IR", 2500, 24, 920)),
    ("ge t1 flair gd", "T1ce", classic("Ax T1 FLAIR GD", "SE\\IR", 2500, 24, 920)),
    ("ge t2 flair", "FLAIR", classic("Ax T2 FLAIR FS", "SE\\IR", 9002, 142, 2250)),
    ("ge cube flair", "FLAIR", classic("Sag CUBE FLAIR", "SE\\IR", 6302, 119, 1662)),
    ("ge frfse", "T2", classic("Ax T2 FRFSE", "SE", 5200, 102, EchoTrainLength=18)),
    ("ge propeller", "T2", classic("Ax T2 PROPELLER", "RM", 4800, 98)),
    ("ge t1 se pre", "T1", classic("AX T1 PRE", "SE", 600, 11)),
    # Philips
    ("philips tfe", "T1", classic("sT1W_3D_TFE", "GR", 8.1, 3.7, SequenceVariant="MP", FlipAngle=8)),
    ("philips tfe gado", "T1ce", classic("sT1W_3D_TFE gado", "GR", 8.1, 3.7, SequenceVariant="MP")),
    ("philips se", "T1", classic("T1W_SE", "SE", 498, 10, SequenceVariant="SK")),
    ("philips flair", "FLAIR", classic("FLAIR_longTR", "IR", 11000, 125, 2800, SequenceVariant="SK")),
    ("philips vista flair", "FLAIR", classic("sFLAIR_3D", "IR", 4800, 340, 1650)),
    ("philips tse", "T2", classic("T2W_TSE", "SE", 3000, 80, SequenceVariant="SK", EchoTrainLength=15)),
    ("philips no agent word", "T1", classic("T1W_SE", "SE", 498, 10, ContrastBolusAgent="NO")),
    # Toshiba / Canon
    ("toshiba se", "T1", classic("T1 Axial SE", "SE", 540, 15, SequenceVariant="NONE")),
    ("toshiba gd", "T1ce", classic("T1 Axial +GD", "SE", 540, 15)),
    ("toshiba fse", "T2", classic("FSE T2 AX", "SE", 4400, 105)),
    ("toshiba flair", "FLAIR", classic("FLAIR AX", "SE\\IR", 10000, 105, 2700)),
    # Other languages, silent or absent attributes
    ("french contrast", "T1ce", classic("T1 SE AXIAL APRES INJECTION", "SE", 500, 10)),
    ("french without", "T1", classic("T1 SE AXIAL SANS INJ", "SE", 500, 10)),
    ("spanish without", "T1", classic("T1 AX SIN CONTRASTE", "SE", 500, 10)),
    ("spanish contrast", "T1ce", classic("AX T1 CONTRASTE", "SE", 500, 10)),
    ("without written short", "T1", classic("AX T1 W/O", "SE", 500, 10)),
    ("underscores", "T1ce", classic("AX_T1_POST", "SE", 500, 10)),
    ("inversion time missing", "FLAIR", classic("tra dark fluid", "SE\\IR", 9000, 120)),
    ("words only", "T1ce", {"SeriesDescription": "t1 mprage +C"}),
    ("words only flair", "FLAIR", {"SeriesDescription": "AX FLAIR"}),
    ("protocol name only", "T2", {"SeriesDescription": "series 4", "ProtocolName": "t2_tse_tra"}),
    # What is none of them
    ("stir", "other", classic("T2 STIR COR", "SE\\IR", 4500, 60, 160)),
    ("proton density", "other", classic("PD TSE", "SE", 3000, 14)),
    ("t2 star", "other", classic("t2_fl2d_tra_hemo", "GR", 620, 19.9, FlipAngle=20)),
    ("swi", "other", classic("SWI_Images", "GR", 28, 20, FlipAngle=15)),
    ("dwi", "other", classic("ep2d_diff_3scan_trace", "EP\\SE", 4000, 89)),
    ("tof", "other", classic("TOF_3D_multi-slab", "GR", 22, 3.6, FlipAngle=18)),
    ("tof by flag", "other", classic("3D head", "GR", 22, 3.6, AngioFlag="Y")),
    ("ciss", "other", classic("t2_ci3d_tra", "GR", 5.8, 2.6, SequenceVariant=["SS"], FlipAngle=70)),
    ("localizer", "other", classic("AX T1 scout", "GR", 8, 3, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])),
    ("dynamic", "other", classic("t1 dynamic", "GR", 5, 1.8, NumberOfTemporalPositions=40)),
    ("map", "other", classic("T1 map", "GR", 15, 2.5, ImageType=["DERIVED", "PRIMARY", "T1 MAP"])),
    ("nothing known", "other", {"SeriesDescription": "series 7"}),
]  # fmt: skip
