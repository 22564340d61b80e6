"""The repository as a pip project and as an ament_python package."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

import neuroscan_core


def test_both_package_systems_state_the_same_name_version_and_licence(repository: Path) -> None:
    package = ElementTree.parse(repository / "package.xml").getroot()
    assert package.findtext("name") == "neuroscan" == (repository / "resource").joinpath("neuroscan").name
    assert package.findtext("version") == neuroscan_core.__version__
    assert package.findtext("license") == "Apache-2.0"
    assert package.findtext("export/build_type") == "ament_python"


def test_listed_data_files_exist(repository: Path) -> None:
    config = configparser.ConfigParser()
    config.read(repository / "setup.cfg")
    listed = " ".join(config["options.data_files"].values()).split()
    assert {"package.xml", "resource/neuroscan", "pyproject.toml", "README.md"} <= set(listed)
    assert all(any(path.is_file() for path in repository.glob(name)) for name in listed), listed


def test_base_installation_needs_no_torch(repository: Path) -> None:
    text = (repository / "pyproject.toml").read_text()
    base = text.partition("dependencies = [")[2].partition("\n]")[0]
    assert "torch" not in base and "tensorrt" not in base


def test_no_folder_of_the_repository_shadows_the_launch_package_of_ros(repository: Path) -> None:
    assert not (repository / "launch" / "__init__.py").exists()


def test_make_help_lists_the_promised_targets(repository: Path) -> None:
    result = subprocess.run(["make", "help"], cwd=repository, capture_output=True, text=True, timeout=60, check=True)
    for target in ("demo", "test", "test-all", "test-ros", "bench", "lint"):
        assert re.search(rf"^make {target} ", result.stdout, re.MULTILINE)


@pytest.mark.slow
def test_wheel_holds_the_models_and_the_status_page(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(tmp_path), str(repository)]
    # setuptools packs whatever an earlier build left there, also what is no longer, or should not be, packed.
    shutil.rmtree(repository / "build" / "lib", ignore_errors=True)
    subprocess.run(command, timeout=300, check=True)
    shutil.rmtree(repository / "build" / "lib")
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    package = repository / "neuroscan_core"
    models = [path.relative_to(package).as_posix() for path in (package / "models").glob("*/[!.]*")]
    assert "models/mobilenetv2-unet-flair/model.onnx" in models
    for wanted in (*models, "viewer/static/index.html", "py.typed"):
        assert f"neuroscan_core/{wanted}" in names
    assert any(name.endswith("data/share/ament_index/resource_index/packages/neuroscan") for name in names)
    assert not any(name.startswith("tests/") for name in names)
