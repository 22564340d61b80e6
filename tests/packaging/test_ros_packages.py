"""The packages of the ROS workspace against one another, without ROS."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import neuroscan_core

NODES = {"bridge_node", "gateway_node", "segmentation_node", "viewer_node"}
# What is imported -> what rosdep or the workspace calls it.
DEPENDENCY_OF = {
    "cv2": "python3-opencv", "dicom_gateway": "neuroscan", "neuroscan_core": "neuroscan", "numpy": "python3-numpy",
    "pydantic": "python3-pydantic", "pydantic_core": "python3-pydantic", "scipy": "python3-scipy",
    "skimage": "python3-skimage", "yaml": "python3-yaml",
}  # fmt: skip
# Dependencies of `neuroscan` that come from pip into the environment (docs/adr/0001).
FROM_PIP = {"prometheus_client", "starlette", "structlog", "typer", "uvicorn"}


@pytest.fixture(scope="module")
def packages(repository: Path) -> dict[str, Path]:
    """Name -> folder, as colcon finds them."""
    defaults = yaml.safe_load((repository / "ros_ws" / "colcon_defaults.yaml").read_text())
    found: dict[str, Path] = {}
    for base in defaults["build"]["base-paths"]:
        folder = (repository / "ros_ws" / base).resolve()
        for path in [folder] if (folder / "package.xml").exists() else sorted(folder.iterdir()):
            if (path / "package.xml").exists():
                found[str(ElementTree.parse(path / "package.xml").findtext("name"))] = path
    return found


def dependencies(folder: Path, *kinds: str) -> set[str]:
    root = ElementTree.parse(folder / "package.xml").getroot()
    return {str(element.text) for element in root if element.tag in kinds}


def imported(folder: Path) -> set[str]:
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names)


def test_a_plain_colcon_build_in_the_workspace_finds_three_packages(packages: dict[str, Path]) -> None:
    assert set(packages) == {"neuroscan", "neuroscan_msgs", "neuroscan_ros"}


def test_every_verb_of_colcon_looks_in_the_same_folders(repository: Path) -> None:
    defaults = yaml.safe_load((repository / "ros_ws" / "colcon_defaults.yaml").read_text())
    assert {"build", "test", "list"} <= set(defaults)
    assert all(arguments == defaults["build"] for arguments in defaults.values())


def test_the_packages_are_built_one_after_another_and_state_one_version(packages: dict[str, Path]) -> None:
    needs = {name: dependencies(path, "depend", "build_depend", "exec_depend") for name, path in packages.items()}
    assert needs["neuroscan"].isdisjoint(packages)
    assert needs["neuroscan_msgs"].isdisjoint(packages)
    assert needs["neuroscan_ros"] & set(packages) == {"neuroscan", "neuroscan_msgs"}
    for path in packages.values():
        root = ElementTree.parse(path / "package.xml").getroot()
        assert (root.findtext("version"), root.findtext("license")) == (neuroscan_core.__version__, "Apache-2.0")
    assert f'version="{neuroscan_core.__version__}"' in (packages["neuroscan_ros"] / "setup.py").read_text()


def test_everything_that_the_nodes_import_is_a_dependency(packages: dict[str, Path]) -> None:
    folder = packages["neuroscan_ros"]
    names = imported(folder / "neuroscan_ros") - {"neuroscan_ros"} - FROM_PIP
    missing = {DEPENDENCY_OF.get(name, name) for name in names} - dependencies(folder, "exec_depend", "depend")
    assert not missing, f"package.xml of neuroscan_ros lacks {sorted(missing)}"


def test_nothing_is_a_dependency_that_the_nodes_do_not_import(packages: dict[str, Path]) -> None:
    folder = packages["neuroscan_ros"]
    names = {DEPENDENCY_OF.get(name, name) for name in imported(folder / "neuroscan_ros")}
    idle = dependencies(folder, "exec_depend") - names
    assert not idle, f"package.xml of neuroscan_ros names {sorted(idle)}, which nothing imports"


def test_every_message_is_generated(packages: dict[str, Path]) -> None:
    folder = packages["neuroscan_msgs"]
    listed = set(re.findall(r'"((?:msg|srv)/\w+\.(?:msg|srv))"', (folder / "CMakeLists.txt").read_text()))
    assert listed == {path.relative_to(folder).as_posix() for path in folder.glob("???/*.???")}


def test_ros2_run_finds_every_node_and_the_command_line(packages: dict[str, Path]) -> None:
    for name in ("neuroscan", "neuroscan_ros"):
        config = configparser.ConfigParser()
        config.read(packages[name] / "setup.cfg")
        assert config["develop"]["script_dir"] == config["install"]["install_scripts"] == f"$base/lib/{name}"
        assert (packages[name] / "resource" / name).is_file()
    setup = (packages["neuroscan_ros"] / "setup.py").read_text()
    scripts = dict(re.findall(r'"(\w+) = neuroscan_ros\.(\w+):main"', setup))
    assert set(scripts) >= NODES and all(name == module for name, module in scripts.items())
    for name in scripts:
        tree = ast.parse((packages["neuroscan_ros"] / "neuroscan_ros" / f"{name}.py").read_text())
        assert "main" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_both_systems_state_the_same_of_the_root_package(repository: Path) -> None:
    config = configparser.ConfigParser()
    config.read(repository / "setup.cfg")
    project = (repository / "pyproject.toml").read_text()
    assert f'name = "{config["metadata"]["name"]}"' in project
    assert f'requires-python = "{config["options"]["python_requires"]}"' in project
    assert "[tool.setuptools" not in project and "[project.scripts]" not in project  # colcon would not see them
    assert config["options.entry_points"]["console_scripts"].strip() == "neuroscan = neuroscan_core.cli:main"


def test_launch_files_and_what_they_read_are_installed_side_by_side(repository: Path) -> None:
    config = configparser.ConfigParser()
    config.read(repository / "setup.cfg")
    installed = {
        path.relative_to(repository): Path(folder) / path.name
        for folder, patterns in config["options.data_files"].items()
        for pattern in patterns.split()
        for path in repository.glob(pattern)
    }
    for path in (repository / "launch").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            relative = path.relative_to(repository)
            assert installed.get(relative) == Path("share/neuroscan") / relative, f"{relative} is not installed"
    assert {path.name for path in (repository / "launch").glob("*.launch.py")} == {
        f"{name}.launch.py" for name in ("edge", "gateway", "replay", "segmentation", "viewer")
    }


def test_every_launch_file_compiles_and_describes_itself(repository: Path) -> None:
    for path in (repository / "launch").glob("*.launch.py"):
        tree = ast.parse(path.read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert ast.get_docstring(tree) and "generate_launch_description" in functions, path.name


def test_parameter_files_speak_of_nodes_that_exist_and_are_installed(repository: Path) -> None:
    path = repository / "config" / "ros.example.yaml"
    for node, content in yaml.safe_load(path.read_text()).items():
        assert node.rpartition("/")[2] in NODES | {"**"}, f"{path.name} names {node}"
        assert set(content) == {"ros__parameters"}
    config = configparser.ConfigParser()
    config.read(repository / "setup.cfg")
    patterns = config["options.data_files"]["share/neuroscan/config"].split()
    assert {file.name for pattern in patterns for file in repository.glob(pattern)} >= {
        "neuroscan.example.yaml", "ros.example.yaml"
    }  # fmt: skip
