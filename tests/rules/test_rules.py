"""Rules: which series goes to which model, and why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from dicom_gateway.rules import RuleSet, rules_report
from neuroscan_core.config import DEFAULT_RULES, NodeConfig, RuleConfig
from neuroscan_core.domain.errors import ConfigurationError, UnreadableObject


def header(**attributes: Any) -> Dataset:
    ds = Dataset()
    ds.Modality, ds.SeriesDescription, ds.EchoTime = "MR", "AX T2 FLAIR fs", "120.5"
    ds.ImageType, ds.MagneticFieldStrength = ["ORIGINAL", "PRIMARY", "M"], "3"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def matches(condition: dict[str, Any], **attributes: Any) -> bool:
    decision = RuleSet([RuleConfig(name="r", when=condition, model="m")]).decide(header(**attributes))
    return decision.rule == "r"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({}, True),
        ({"Modality": "MR"}, True),
        ({"Modality": "mr"}, True),
        ({"Modality": "CT"}, False),
        ({"Modality": ["CT", "MR"]}, True),
        ({"Modality": ["CT", "PT"]}, False),
        ({"EchoTime": 120.5}, True),
        ({"EchoTime": "120.5"}, True),
        ({"EchoTime": 120}, False),
        ({"EchoTime": {"min": 80}}, True),
        ({"EchoTime": {"min": 80, "max": 120}}, False),
        ({"EchoTime": {"max": 120.5}}, True),
        ({"SeriesDescription": {"glob": "*flair*"}}, True),
        ({"SeriesDescription": {"glob": "flair*"}}, False),
        ({"SeriesDescription": {"regex": r"(?i)flair|tirm"}}, True),
        ({"SeriesDescription": {"regex": r"flair"}}, False),
        ({"SeriesDescription": [{"glob": "*tirm*"}, {"glob": "*flair*"}]}, True),
        ({"SeriesDescription": {"glob": "*flair*", "not": {"glob": "*fs*"}}}, False),
        ({"SeriesDescription": {"not": {"glob": "*post*"}}}, True),
        ({"ImageType": "PRIMARY"}, True),  # one of several values
        ({"ImageType": {"not": "LOCALIZER"}}, True),
        ({"ImageType": {"not": "M"}}, False),
        ({"BodyPartExamined": {"exists": True}}, False),
        ({"BodyPartExamined": {"exists": False}}, True),
        ({"BodyPartExamined": "HEAD"}, False),
        ({"BodyPartExamined": {"not": "KNEE"}}, True),
        ({"Modality": "MR", "EchoTime": {"min": 200}}, False),
    ],
)
def test_conditions(condition: dict[str, Any], expected: bool) -> None:
    assert matches(condition) is expected


def test_an_empty_attribute_does_not_exist() -> None:
    assert matches({"BodyPartExamined": {"exists": False}}, BodyPartExamined="")


def test_a_range_holds_for_one_value_not_for_two_halves() -> None:
    assert not matches({"PixelSpacing": {"min": 0.9, "max": 1.1}}, PixelSpacing=[0.5, 2.0])
    assert matches({"PixelSpacing": {"min": 0.9, "max": 1.1}}, PixelSpacing=[0.5, 1.0])


def test_the_first_matching_rule_decides_and_the_trace_says_why_not() -> None:
    rules = RuleSet(
        [
            RuleConfig(name="late echo", when={"EchoTime": {"min": 200}}, model="a"),
            RuleConfig(name="flair", when={"SeriesDescription": {"glob": "*flair*"}}, model="b", priority=5),
            RuleConfig(name="all", model="c"),
        ]
    )
    decision = rules.decide(header())
    assert (decision.rule, decision.model, decision.priority) == ("flair", "b", 5)
    assert [(line.rule, line.is_match) for line in decision.trace] == [("late echo", False), ("flair", True)]
    assert decision.trace[0].why_not == "EchoTime is 120.5; wanted is min 200."
    assert "flair" in decision.reason


def test_no_rule_and_store_only_are_told_apart() -> None:
    assert RuleSet([]).decide(header()).reason == "No rule matches the series."
    decision = RuleSet([RuleConfig(name="keep", model=None)]).decide(header())
    assert decision.rule == "keep" and decision.model is None and "store only" in decision.reason


def test_a_trace_holds_no_patient_data() -> None:
    rules = RuleSet([RuleConfig(name="r", when={"PatientName": "TEST"}, model="m")])
    assert "Secret" not in str(rules.decide(header(PatientName="Secret^Name")))


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"SeriesDescripton": "x"}, ["SeriesDescripton", "Did you mean SeriesDescription"]),
        ({"Nonsense": "x"}, ["Nonsense", "PS3.6"]),
        ({"Modality": {"globb": "x"}}, ["globb", "Did you mean glob"]),
        ({"Modality": {}}, ["no operator"]),
        ({"Modality": None}, ["empty"]),
        ({"Modality": {"regex": "("}}, ["regular expression"]),
        ({"Modality": {"regex": 3}}, ["needs a text"]),
        ({"EchoTime": {"min": "many"}}, ["needs a number"]),
        ({"EchoTime": {"min": 5, "max": 4}}, ["never holds"]),
        ({"EchoTime": {"exists": "yes"}}, ["true or false"]),
        ({"EchoTime": {"not": {"regex": "["}}}, ["regular expression"]),
    ],
)
def test_a_wrong_rule_is_refused_at_the_start(condition: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RuleSet([RuleConfig(name="my rule", when=condition, model="m")])
    for word in [*words, "my rule"]:
        assert word in str(caught.value)


def test_a_rule_may_only_name_installed_models() -> None:
    rules = RuleSet([RuleConfig(name="r", model="mobilenet-flair"), RuleConfig(name="keep", model=None)])
    rules.check_models({"mobilenet-flair"})
    with pytest.raises(ConfigurationError, match=r"r.*mobilenet-flair.*Did you mean mobilenet-flare"):
        rules.check_models({"mobilenet-flare"})


@pytest.mark.parametrize(
    ("description", "is_wanted"),
    [("AX T2 FLAIR", True), ("t2_tirm_tra_dark-fluid", True), ("t1_mprage_sag", False), ("Ax DWI", False)],
)
def test_the_default_rules_want_flair(description: str, is_wanted: bool) -> None:
    decision = RuleSet(DEFAULT_RULES).decide(header(SeriesDescription=description))
    assert (decision.model is not None) is is_wanted


def write(folder: Path, name: str, **attributes: Any) -> Path:
    ds = header(**attributes)
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, f"1.2.{name}"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(folder / name, enforce_file_format=True)
    return folder / name


def test_the_report_explains_every_series_among_files(tmp_path: Path) -> None:
    write(tmp_path, "1", SeriesInstanceUID="1.1")
    write(tmp_path, "2", SeriesInstanceUID="1.1")
    write(tmp_path, "3", SeriesInstanceUID="1.2", SeriesDescription="T1")
    (tmp_path / "notes.txt").write_text("not DICOM")
    flair, t1 = rules_report([tmp_path], NodeConfig())
    assert (flair.series_instance_uid, flair.num_files, flair.description) == ("1.1", 2, "AX T2 FLAIR fs")
    assert flair.decision.model == DEFAULT_RULES[0].model
    assert t1.decision.model is None and "T1" in t1.decision.trace[0].why_not
    with pytest.raises(UnreadableObject):
        rules_report([tmp_path / "notes.txt"], NodeConfig())
