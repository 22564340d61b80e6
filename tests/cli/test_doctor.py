"""Each check of the doctor finds what it looks for."""

from __future__ import annotations

import socket
from pathlib import Path

from neuroscan_core.config import parse_config
from neuroscan_core.doctor import (
    Severity,
    check_decoders,
    check_folder,
    check_free_space,
    check_models,
    check_page,
    check_port,
    examine,
)
from neuroscan_core.domain.errors import InvalidBundle

MODELS = Path(__file__).parents[1] / "study" / "models"


def test_folder_that_is_open_to_everyone_is_a_warning(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    [finding] = check_folder(tmp_path)
    assert finding.severity is Severity.WARNING and "chmod" in finding.remedy
    tmp_path.chmod(0o750)
    [finding] = check_folder(tmp_path)
    assert finding.severity is Severity.GOOD


def test_folder_that_is_not_there_yet_is_judged_by_the_one_above(tmp_path: Path) -> None:
    [finding] = check_folder(tmp_path / "a" / "b")
    assert finding.severity is Severity.GOOD


def test_full_disk_is_a_failure_that_names_the_key(tmp_path: Path) -> None:
    [finding] = check_free_space(tmp_path, 1 << 60)
    assert finding.is_failure and "gateway.min_free_bytes" in finding.remedy


def test_port_in_use_is_seen() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        finding = check_port("DICOM port", "127.0.0.1", other.getsockname()[1], "gateway.port")
    assert finding.severity is Severity.WARNING and "gateway.port" in finding.remedy


def test_address_of_another_machine_cannot_be_listened_on() -> None:
    assert check_port("DICOM port", "192.0.2.1", 0, "gateway.port").is_failure


def test_damaged_bundle_is_a_failure_not_an_exception(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.yaml").write_text("name: broken\n")
    config = parse_config({"segmenter": {"models_dir": str(tmp_path)}})

    def models() -> object:
        return list(check_models(config))

    [finding] = examine([models])  # type: ignore[list-item]
    assert finding.is_failure and finding.subject == "models"


def test_only_models_in_use_are_executed() -> None:
    config = parse_config({"segmenter": {"models_dir": str(MODELS), "precision": "int8"}, "rules": []})
    findings = list(check_models(config))  # none has an INT8 file
    assert {"unet-tiny", "segresnet-tiny", "classifier-tiny"} <= {finding.message.split()[0] for finding in findings}
    assert all("no rule and no study names it" in finding.message for finding in findings)
    config = parse_config({
        "segmenter": {"models_dir": str(MODELS)}, "rules": [], "studies": [{"name": "one", "model": "unet-tiny"}],
    })  # fmt: skip
    [used] = [one for one in check_models(config) if "hash and reference agree" in one.message]
    assert used.message.startswith("unet-tiny")


def test_page_that_others_could_see_without_a_login_is_a_failure() -> None:
    config = parse_config({"viewer": {"host": "0.0.0.0"}})
    [finding] = examine([lambda: check_page(config.viewer)])
    assert finding.is_failure and "viewer.auth" in finding.message


def test_page_with_a_login_over_plain_http_is_a_warning_and_no_token_is_made(tmp_path: Path) -> None:
    auth = {"token_file": str(tmp_path / "token")}
    config = parse_config({"viewer": {"host": "0.0.0.0", "auth": auth}})
    [finding] = check_page(config.viewer)
    assert finding.severity is Severity.WARNING and "viewer.tls" in finding.remedy
    assert not (tmp_path / "token").exists(), "it belongs to whoever runs the node"
    [finding] = check_page(parse_config({"viewer": {"auth": auth, "behind_tls_proxy": True}}).viewer)
    assert finding.severity is Severity.GOOD
    [finding] = check_page(parse_config({}).viewer)
    assert finding.severity is Severity.GOOD


def test_error_of_a_check_becomes_a_finding_with_its_remedy() -> None:
    def network() -> list[object]:
        raise InvalidBundle("It broke.", remedy="Mend it.")

    [finding] = examine([network])  # type: ignore[list-item]
    assert (finding.message, finding.remedy) == ("It broke.", "Mend it.")


def test_decoders_are_installed_with_the_package() -> None:
    [finding] = check_decoders()
    assert finding.severity is Severity.GOOD
