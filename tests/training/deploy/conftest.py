"""A deploy folder of each kind of model, and its programs as modules."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("onnx", reason="the `training` extra is not installed")

from neuroscan_core.inference.bundle import Bundle
from tests.training.triton.kinds import KINDS, write_bundle
from training.deploy.folder import programs, write_folder


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """A small bundle of each kind."""
    folder = tmp_path_factory.mktemp("bundles")
    return {kind: write_bundle(kind, folder / kind) for kind in KINDS}


@pytest.fixture(scope="session")
def folders(bundles: dict[str, Bundle], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A deploy folder of each kind."""
    root = tmp_path_factory.mktemp("deploy")
    return {kind: write_folder(bundle, root / kind) for kind, bundle in bundles.items()}


@pytest.fixture
def load_programs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], SimpleNamespace]:
    """Import the programs of a folder, as they are there when one of them is run; forgotten after the test."""

    def load(folder: Path) -> SimpleNamespace:
        names = [path.stem for path in programs()]
        monkeypatch.syspath_prepend(str(folder))
        for name in names:
            monkeypatch.delitem(sys.modules, name, raising=False)
        modules = {name: importlib.import_module(name) for name in names}
        for name in names:
            monkeypatch.setitem(sys.modules, name, modules[name])
        return SimpleNamespace(**modules)

    return load
