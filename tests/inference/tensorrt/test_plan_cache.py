"""Only plans that were built here, for this, and arrived whole are loaded."""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from neuroscan_core.domain.errors import StorageError
from neuroscan_core.inference.tensorrt import plan_cache
from neuroscan_core.inference.tensorrt.builder import Profile
from neuroscan_core.inference.tensorrt.plan_cache import Device, PlanCache, PlanKey, PlanRefused
from tests.inference.tensorrt.world import Machine

DEVICE = Device("Orin", (8, 7), "10.3.0")
KEY = PlanKey("tiny", "ab" * 32, "fp16", Profile((3, 32, 32), 4), DEVICE)
OTHERS = {
    "another GPU": replace(KEY, device=replace(DEVICE, gpu="Xavier")),
    "another compute capability": replace(KEY, device=replace(DEVICE, compute_capability=(7, 2))),
    "another TensorRT": replace(KEY, device=replace(DEVICE, tensorrt="10.3.1")),
    "another network": replace(KEY, onnx_sha256="cd" * 32),
    "another precision": replace(KEY, precision="fp32"),
    "another largest batch": replace(KEY, profile=replace(KEY.profile, max_batch=8)),
    "another size": replace(KEY, profile=replace(KEY.profile, item_shape=(3, 64, 64))),
    "another bundle": replace(KEY, model="other"),
}


def plan_of(folder: Path) -> Path:
    [path] = folder.glob("*.plan")
    return path


def test_a_plan_comes_back_as_it_was_in_another_run(tmp_path: Path) -> None:
    PlanCache(tmp_path).store_plan(KEY, b"plan")
    assert PlanCache(tmp_path).load_plan(KEY) == b"plan"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_plan_for_something_else_is_not_found(other: PlanKey, tmp_path: Path) -> None:
    cache = PlanCache(tmp_path)
    cache.store_plan(KEY, b"plan")
    assert cache.load_plan(other) is None


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_plan_under_the_name_of_another_is_refused(other: PlanKey, tmp_path: Path) -> None:
    cache = PlanCache(tmp_path)
    cache.store_plan(KEY, b"plan")
    for suffix in (".plan", ".plan.json"):
        (tmp_path / f"{KEY.stem}{suffix}").rename(tmp_path / f"{other.stem}{suffix}")
    with pytest.raises(PlanRefused, match="does not fit"):
        cache.load_plan(other)


@pytest.mark.parametrize("damage", [b"plaN", b"pla", b"plan ", b""])
def test_a_damaged_plan_is_refused(damage: bytes, tmp_path: Path) -> None:
    cache = PlanCache(tmp_path)
    cache.store_plan(KEY, b"plan")
    plan_of(tmp_path).write_bytes(damage)
    with pytest.raises(PlanRefused, match="does not fit"):
        cache.load_plan(KEY)


def test_a_plan_with_a_seal_of_its_own_making_is_refused(tmp_path: Path) -> None:
    here, elsewhere = PlanCache(tmp_path / "here"), PlanCache(tmp_path / "elsewhere")
    elsewhere.store_plan(KEY, b"foreign code")
    for path in (tmp_path / "elsewhere").glob(f"{KEY.stem}*"):
        shutil.copy(path, tmp_path / "here")
    with pytest.raises(PlanRefused, match="built elsewhere"):
        here.load_plan(KEY)


def test_a_whole_folder_from_another_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(plan_cache, "MACHINE_ID", tmp_path / "one")
    PlanCache(tmp_path / "plans").store_plan(KEY, b"plan")
    monkeypatch.setattr(plan_cache, "MACHINE_ID", tmp_path / "two")
    with pytest.raises(PlanRefused):
        PlanCache(tmp_path / "plans").load_plan(KEY)


@pytest.mark.parametrize("seal", [None, "", "[]", '"x"', "{}", '{"hmac": 3}', '{"hmac": "00"}', "\xff"])
def test_a_plan_without_a_good_seal_is_refused(seal: str | None, tmp_path: Path) -> None:
    cache = PlanCache(tmp_path)
    cache.store_plan(KEY, b"plan")
    path = plan_of(tmp_path).with_suffix(".plan.json")
    path.unlink()
    if seal is not None:
        path.write_text(seal, encoding="latin-1")
    with pytest.raises(PlanRefused):
        cache.load_plan(KEY)


def test_what_is_kept_is_closed_to_others_and_says_what_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "plans"
    PlanCache(folder).store_plan(KEY, b"plan")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    seal = json.loads(plan_of(folder).with_suffix(".plan.json").read_text())
    assert seal["built_for"]["device"] == {"gpu": "Orin", "compute_capability": [8, 7], "tensorrt": "10.3.0"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/plans"):
        PlanCache(tmp_path / "file" / "plans")


def test_the_second_start_loads_what_the_first_built(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.open().close()
    with machine.open() as engine:
        assert engine.name == "tensorrt-fp16"
    assert len(machine.faults.builds) == 1


@pytest.mark.parametrize("version", ["10.3.0", "11.4.0.106"])
def test_another_version_or_gpu_builds_its_own(version: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path, "8.6.1")
    machine.open().close()
    machine.version = version
    machine.open().close()
    machine.gpu.name = "RTX A4000"
    machine.open().close()
    assert len(machine.faults.builds) == 3


def test_a_plan_that_is_refused_is_built_anew_and_replaced(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.open().close()
    plan_of(tmp_path).write_bytes(b"damaged")
    machine.open().close()
    machine.open().close()
    assert len(machine.faults.builds) == 2


def test_a_plan_that_tensorrt_does_not_take_is_built_anew(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.open().close()
    [seal] = tmp_path.glob("*.plan.json")
    facts = json.loads(seal.read_text())["built_for"]
    PlanCache(tmp_path)._store(plan_of(tmp_path).name, facts, b"of an older library")
    machine.open().close()
    assert len(machine.faults.builds) == 2


def test_what_builds_measured_is_used_by_the_next_on_the_same_device_only(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.open().close()
    machine.open(max_batch=2).close()
    machine.gpu.name = "Xavier"
    machine.open().close()
    assert machine.faults.timing_known == [b"", b"timing Orin", b""]


def test_timings_that_are_damaged_are_measured_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.open().close()
    [timing] = tmp_path.glob("timing-*.cache")
    timing.write_bytes(b"damaged")
    machine.open(max_batch=2).close()
    assert machine.faults.timing_known == [b"", b""]


def test_where_nothing_can_be_kept_the_engine_serves_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    machine = Machine(tmp_path / "file" / "plans")
    for _ in range(2):
        machine.open().close()
    assert len(machine.faults.builds) == 2
