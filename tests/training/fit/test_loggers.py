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


def test_wandb_writes_an_offline_run_with_its_history(tmp_path, addresses):
    pytest.importorskip("wandb", reason="the `training` extra is not installed")
    import wandb
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    fit(tmp_path, "logger=wandb")
    wandb.finish()
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    store, rows = DataStore(), []
    store.open_for_scan(str(file))
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            rows.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item})
    assert [row["trainer/global_step"] for row in rows if "loss" in row] == [2, 4, 6]
    assert any("accuracy" in row for row in rows)
    assert not addresses
