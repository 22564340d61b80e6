"""Figures are read back from where the loggers put them, without any network."""

from __future__ import annotations

import json
import socket

import pytest

from tests.training.fit.caches import tiny_cache, tiny_config
from training.fit.run import run_fit

pytestmark = [
    pytest.mark.slow,
    # Both packages, and what they import, deprecate parts of themselves and of others.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*pydantic.*"),
]


@pytest.fixture
def addresses(monkeypatch):
    """Addresses of other machines that this process asks for."""
    asked = []
    connect = socket.socket.connect

    def spy(self, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "localhost", "::1"):
            asked.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", spy)
    return asked


def fit(folder, *changes, store=None):
    cache, split = tiny_cache("classifier")
    run_fit(tiny_config("classifier", *changes), cache, split, folder, store=store)


def test_mlflow_keeps_figures_and_settings_in_a_file_and_a_resumed_run_goes_on_in_it(tmp_path, addresses):
    pytest.importorskip("mlflow", reason="the `training` extra is not installed")
    from mlflow.tracking import MlflowClient

    fit(tmp_path / "run", "logger=mlflow", store=tmp_path / "store")
    fit(tmp_path / "run", "logger=mlflow", "schedule.max_steps=8", store=tmp_path / "store")
    client = MlflowClient(f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("neuroscan")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["optimiser/name"] == "adamw"
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [metric.step for metric in losses] == [2, 4, 6, 8]
    assert all(metric.value > 0 for metric in losses)
    assert client.get_metric_history(run.info.run_id, "accuracy")
    assert not addresses


def wandb_records(path):
    """Read the records of an offline run: a log in the format of LevelDB after 7 bytes of header."""
    from wandb.proto import wandb_internal_pb2

    data, block, position, parts, records = path.read_bytes(), 32768, 7, b"", []
    while position + 7 <= len(data):
        left = block - position % block
        if left < 7:
            position += left
            continue
        length, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            records.append(wandb_internal_pb2.Record.FromString(parts))
            parts = b""
    return records


def test_wandb_writes_an_offline_run_with_its_history(tmp_path, addresses):
    wandb = pytest.importorskip("wandb", reason="the `training` extra is not installed")
    fit(tmp_path, "logger=wandb")
    wandb.finish()
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    histories = [r.history for r in wandb_records(file) if r.WhichOneof("record_type") == "history"]
    rows = [{"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in h.item} for h in histories]
    assert [row["trainer/global_step"] for row in rows if "loss" in row] == [2, 4, 6]
    assert any("accuracy" in row for row in rows)
    assert not addresses
