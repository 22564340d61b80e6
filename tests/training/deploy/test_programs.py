"""The three commands of a deploy folder, run as on a device: by themselves, with NumPy and OpenCV and nothing else."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from neuroscan_core.domain.errors import EngineRefused
from neuroscan_core.inference.bundle import Bundle, load_bundle
from tests.inference.tiny_model import TINY
from tests.training.triton.kinds import KINDS, write_bundle
from training.cli import main
from training.deploy.folder import DeployError, programs, write_folder

# Runs a program where nothing but the standard library, NumPy, OpenCV and the folder's own files can be imported.
ALONE = """
import importlib.abc, os, runpy, sys
folder, program = os.getcwd(), sys.argv[1]
allowed = set(sys.stdlib_module_names) | {"numpy", "cv2"} | {name[:-3] for name in os.listdir(folder)}
class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in allowed:
            raise ModuleNotFoundError(f"No module named {name!r}: it is not on the device")
sys.meta_path.insert(0, Nothing())
sys.path.insert(0, folder)
sys.argv = sys.argv[1:]
runpy.run_path(program, run_name="__main__")
"""


def run_alone(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-I", "-B", "-c", ALONE, program, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("program", programs(), ids=lambda path: path.name)
def test_the_programs_are_python_3_6(program: Path) -> None:
    ast.parse(program.read_text(encoding="utf-8"), feature_version=(3, 6))
    pytest.importorskip("vermin", reason="pip install vermin")
    done = subprocess.run(
        [sys.executable, "-c", "import vermin; vermin.main()", "-t=3.6-", "--violations", "--no-tips", str(program)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_engine_is_verified_with_numpy_and_opencv_alone(folders: dict[str, Path], kind: str) -> None:
    done = run_alone(folders[kind], "verify.py", "--engine", "opencv")
    assert (done.returncode, done.stderr) == (0, "")
    assert "PASSED" in done.stdout


@pytest.mark.parametrize("kind", ["slice25d", "multimodal2d", "volume3d"])
def test_the_samples_are_segmented_with_numpy_and_opencv_alone(
    folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    done = run_alone(folders[kind], "run.py", "--engine", "opencv", "--out", str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (0, "")
    mask = np.load(tmp_path / "out" / "head-mask.npy")
    with np.load(folders[kind] / "samples" / "head.npz") as sample:
        assert mask.shape == sample["image"].shape[-3:] and mask.dtype == np.uint8
    pictures = sorted((tmp_path / "out").glob("head-*.png"))
    assert len(pictures) == sum(labels.any() for labels in mask) > 0
    assert cv2.imread(str(pictures[0])).shape == (*mask.shape[1:], 3)
    assert "engine alone" in done.stdout and "in -> mask out" in done.stdout and "FPS" in done.stdout
    assert "measured on: OpenCV" in done.stdout


def test_pictures_are_classified_with_numpy_and_opencv_alone(folders: dict[str, Path], tmp_path: Path) -> None:
    done = run_alone(folders["classifier"], "run.py", "--engine", "opencv", "--out", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    [table] = tmp_path.glob("*-classes.json")
    rows = json.loads(table.read_text())
    assert len(rows) == len(list((folders["classifier"] / "samples").iterdir()))
    for row in rows:
        assert list(row) == ["glioma", "meningioma", "no tumour", "pituitary"]
        assert sum(row.values()) == pytest.approx(1.0, abs=1e-3)


def test_a_folder_of_pictures_is_one_series_in_the_order_of_their_numbers(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    series = tmp_path / "series"
    series.mkdir()
    rng = np.random.default_rng(3)
    slices = [rng.integers(0, 255, (32, 32)).astype(np.uint8) for _ in range(11)]
    for number, image in enumerate(slices):
        cv2.imwrite(str(series / f"slice_{number}.png"), image)
    np.save(tmp_path / "whole.npy", np.stack(slices))
    for path in (series, tmp_path / "whole.npy"):
        done = run_alone(folders["slice25d"], "run.py", str(path), "--engine", "opencv", "--out", str(tmp_path / "out"))
        assert (done.returncode, done.stderr) == (0, "")
    one, other = (np.load(tmp_path / "out" / f"{name}-mask.npy") for name in ("series", "whole"))
    assert one.any() and np.array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("flat.npy", np.zeros((8, 8)), "is wanted"),
        ("text.npy", None, "no array of NumPy"),
        ("absent.npy", ..., "no array of NumPy"),
    ],
)
def test_images_that_cannot_be_segmented_are_named(
    folders: dict[str, Path], tmp_path: Path, name: str, content: object, complaint: str
) -> None:
    if content is None:
        (tmp_path / name).write_text("text")
    elif content is not ...:
        np.save(tmp_path / name, content)
    done = run_alone(folders["slice25d"], "run.py", str(tmp_path / name), "--engine", "opencv")
    assert done.returncode == 1 and done.stdout == ""
    assert name in done.stderr and complaint in done.stderr and "Traceback" not in done.stderr


def test_a_volume_of_another_spacing_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "thick.npz", image=np.zeros((4, 8, 8, 8), np.float32), spacing_mm=np.array([5.0, 2.0, 2.0]))
    done = run_alone(folders["volume3d"], "run.py", str(tmp_path / "thick.npz"), "--engine", "opencv")
    assert done.returncode == 1 and "bring it to 2.0 mm first" in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_runtime_serves_where_it_is_installed(
    folders: dict[str, Path], load_programs: Callable[[Path], SimpleNamespace], kind: str
) -> None:
    programs = load_programs(folders[kind])
    card = programs.card.load_card()
    assert programs.verify.verify(programs.engines.open_engine("onnxruntime", card), card)


def test_what_is_not_installed_and_what_opencv_cannot_read_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["slice25d"], tmp_path / "folder"))
    (folder / "model.onnx").write_bytes(b"no network")
    done = run_alone(folder, "verify.py", "--engine", "opencv")
    assert done.returncode == 1 and "cannot run this network" in done.stderr and "Traceback" not in done.stderr
    done = run_alone(folder, "verify.py", "--engine", "onnxruntime")
    assert done.returncode == 1 and "ONNX Runtime is not here" in done.stderr


@pytest.mark.parametrize("program", ["convert.py", "verify.py", "run.py"])
def test_without_tensorrt_the_commands_say_so(folders: dict[str, Path], program: str) -> None:
    done = run_alone(folders["slice25d"], program)
    assert done.returncode == 1
    assert "TensorRT's Python module is not here" in done.stderr and "--engine opencv" in done.stderr


def test_the_page_has_exactly_three_commands(folders: dict[str, Path]) -> None:
    page = (folders["slice25d"] / "README.md").read_text()
    block = page.split("```")[1]
    commands = [line.split("#")[0].strip() for line in block.strip().splitlines()]
    assert commands == ["python3 convert.py", "python3 verify.py", "python3 run.py"]


def test_the_command_writes_the_folder_and_may_write_it_again(
    bundles: dict[str, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["deploy", "--bundle", str(bundles["slice25d"].folder), "--out", str(tmp_path / "out")]) == 0
    assert "convert.py" in capsys.readouterr().out
    assert (tmp_path / "out" / "model.onnx").read_bytes() == bundles["slice25d"].onnx_path.read_bytes()


def test_a_folder_with_something_else_in_it_is_left_alone(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DeployError, match="something else"):
        write_folder(bundles["slice25d"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_older_opset_must_be_the_same_network(tmp_path: Path, bundles: dict[str, Bundle]) -> None:
    new = write_bundle("slice25d", tmp_path / "new", opset=20)
    folder = write_folder(new, tmp_path / "out", bundles["slice25d"])
    assert (folder / "model-opset13.onnx").read_bytes() == bundles["slice25d"].onnx_path.read_bytes()
    with pytest.raises(DeployError, match="opset 20"):
        write_folder(bundles["slice25d"], tmp_path / "other", new)
    with pytest.raises((EngineRefused, DeployError)):
        write_folder(load_bundle(TINY), tmp_path / "another", bundles["slice25d"])
