"""People are told which engines a machine has, why not the others, and when another than the chosen one serves."""

from __future__ import annotations

import pytest

from neuroscan_core.config import SegmenterConfig, parse_config
from neuroscan_core.doctor import Severity, check_engines, check_models
from neuroscan_core.domain.errors import EngineRefused, EngineUnavailable
from neuroscan_core.inference import availability, select
from neuroscan_core.inference.availability import engines_here
from neuroscan_core.inference.bundle import Bundle
from neuroscan_core.ports import InferenceEngine


def missing(config: SegmenterConfig) -> str:
    raise EngineUnavailable("No GPU.", remedy="Plug one in.")


def test_each_engine_is_there_or_says_what_is_missing() -> None:
    probes = {"onnxruntime": lambda config: f"on {config.threads} threads", "tensorrt": missing}
    here, not_here = engines_here(SegmenterConfig(threads=3), probes)
    assert (str(here), here.remedy) == ("onnxruntime: on 3 threads", "")
    assert (str(not_here), not_here.remedy) == ("tensorrt: not here. No GPU.", "Plug one in.")


def test_all_engines_of_the_configuration_are_probed_on_this_machine() -> None:
    found = {entry.engine: entry for entry in engines_here(SegmenterConfig())}
    assert found.keys() == select.OPENERS.keys()
    assert found["onnxruntime"].is_available
    assert all(entry.is_available or entry.remedy for entry in found.values())


@pytest.mark.parametrize(("chosen", "severity"), [("auto", Severity.GOOD), ("tensorrt", Severity.FAILURE)])
def test_the_doctor_fails_only_for_the_engine_that_was_chosen(
    chosen: str, severity: Severity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "PROBES", {"tensorrt": missing})
    [finding] = check_engines(parse_config({"segmenter": {"engine": chosen}}))
    assert finding.severity is severity and "No GPU" in finding.message


def test_the_doctor_warns_of_a_replacement(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(bundle: Bundle, config: SegmenterConfig) -> InferenceEngine:
        raise EngineRefused("It differs by 0.3.")

    monkeypatch.setattr(select, "OPENERS", {**select.OPENERS, "tensorrt": refuse})
    findings = list(check_models(parse_config({"segmenter": {"engine": "tensorrt"}})))
    [finding] = [one for one in findings if one.severity is Severity.WARNING]  # one model is in use
    assert "instead of tensorrt" in finding.message
