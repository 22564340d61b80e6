"""`dvc.yaml`: complete, in order, its commands are commands of this package; and it runs in a fresh clone."""

from __future__ import annotations

import itertools
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("dvc", reason="the `training` extra is not installed")

from . import layouts

STAGES = ("prepare", "fit", "test", "export")


@pytest.fixture(scope="module")
def pipeline(repository: Path) -> dict[str, dict]:
    return yaml.safe_load((repository / "dvc.yaml").read_text())["stages"]


@pytest.fixture(scope="module")
def params(repository: Path) -> dict:
    return yaml.safe_load((repository / "params.yaml").read_text())


def commands(stage: dict, key: str, item: dict | str, params: dict) -> list[str]:
    """Fill in a stage's commands as DVC does."""
    texts = stage["do"]["cmd"] if isinstance(stage["do"]["cmd"], list) else [stage["do"]["cmd"]]
    values = {"key": key, **{name: str(value) for name, value in params.items() if isinstance(value, str)}}
    values |= {f"item.{name}": value for name, value in item.items()} if isinstance(item, dict) else {"item": item}
    for name, value in values.items():
        texts = [text.replace(f"${{{name}}}", value) for text in texts]
    return texts


def test_every_command_is_understood(pipeline, params):
    from training.cli import COMMANDS, build_parser

    parser = build_parser()
    for name in STAGES:
        instances = {view: view for view in params["views"]} if name == "prepare" else params["recipes"]
        for key, item in instances.items():
            for command in commands(pipeline[name], key, item, params):
                assert "${" not in command
                words = shlex.split(command.split("$(")[0])
                assert words[:3] == ["python", "-m", "training"] and words[3] in COMMANDS
                arguments, rest = parser.parse_known_args(words[3:])
                assert all("=" in word for word in rest)
                assert not hasattr(arguments, "overrides") or f"experiment={key}" in words


def test_recipes_exist_and_are_trained_from_their_view(repository, params):
    from training.data.cases import VIEW_OF_KIND
    from training.fit.compose import compose_config

    for key, item in params["recipes"].items():
        assert (repository / "training" / "configs" / "experiment" / f"{key}.yaml").is_file()
        assert VIEW_OF_KIND[compose_config(key, []).kind] == item["view"]


def test_stages_hang_together(pipeline):
    made = {"prepare": "${caches}/${item.view}", "fit": "${runs}/${key}/best.pt", "test": "${runs}/${key}/eval"}
    for first, second in itertools.pairwise(STAGES):
        assert made[first] in pipeline[second]["do"]["deps"]


def test_code_that_stages_depend_on_exists(repository, pipeline):
    for stage in pipeline.values():
        paths = [path for path in stage["do"]["deps"] if not path.startswith("${")]
        assert paths and all((repository / path).exists() for path in paths)


def test_no_place_of_one_machine_is_committed(repository):
    config = (repository / ".dvc" / "config").read_text()
    assert "remote" not in config and "analytics = false" in config
    assert "/config.local" in (repository / ".dvc" / ".gitignore").read_text()


@pytest.mark.slow
def test_a_fresh_clone_prepares_keeps_and_gets_back_its_data(repository, tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(repository), str(clone)], check=True, timeout=60)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(repository / name, clone / name)
    for number in range(2):
        layouts.write_brats(clone / "data", f"Brats18_X_{number}_1", seed=number)

    def dvc(*words: str) -> str:
        command = [sys.executable, "-m", "dvc", *words]
        environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
        done = subprocess.run(
            command, cwd=clone, env=environment, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    assert "training prepare --data data --cache build/caches/flair --view flair" in dvc(
        "repro", "--dry", "prepare@flair"
    )
    assert not (clone / "build").exists()
    assert "fit@unet-brats" in dvc("status")
    graph = dvc("dag", "--md", "export@unet-brats")
    assert all(f"{name}@" in graph for name in STAGES)
    dvc("repro", "prepare@flair")
    (folder,) = (clone / "build" / "caches" / "flair").glob("flair-*")
    before = (folder / "images.npy").read_bytes()
    assert "Data and pipelines are up to date" in dvc("status", "prepare@flair")
    dvc("remote", "add", "--local", "-d", "local", str(tmp_path / "remote"))
    dvc("push", "prepare@flair")
    shutil.rmtree(clone / "build")
    shutil.rmtree(clone / ".dvc" / "cache")
    dvc("pull", "prepare@flair")
    assert (folder / "images.npy").read_bytes() == before
    assert "local" not in (clone / ".dvc" / "config").read_text()
