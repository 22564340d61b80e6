"""Where the figures of a run go besides `history.csv`: MLflow or Weights & Biases, on this machine alone.

MLflow writes an SQLite file (its plain-file store is in maintenance only), no
server runs; W&B runs offline, `wandb sync` uploads later if somebody wants it.
Nothing is sent anywhere.
"""

from __future__ import annotations

import json
import logging
import os
import uuid
from pathlib import Path
from typing import Any

from neuroscan_core.domain.errors import ConfigurationError
from training.data.digest import write_atomically
from training.fit.config import FitConfig

TRACKING = "tracking.json"


def open_logger(config: FitConfig, folder: Path, store: Path | None = None) -> Any:
    """Return Lightning's logger as configured, or None.

    Parameters
    ----------
    folder : pathlib.Path
        The run's folder; a logger's run that was begun there is continued.
    store : pathlib.Path, optional
        Folder of the MLflow store, shared by many runs; default: the run's folder.

    Raises
    ------
    ConfigurationError
        The logger's package is not installed.
    """
    name = config.logger.name
    if name == "none":
        return None
    _stay_offline()
    known = name in _read_tracking(folder)
    try:
        logger = _mlflow(config, folder, store or folder) if name == "mlflow" else _wandb(config, folder)
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            f"The logger {name} is not installed.",
            remedy="Run `pip install neuroscan[training]`, or set logger=none.",
        ) from exc
    if not known:
        # In MLflow the parameters of a run stand for good; a resumed run may be longer, as config.yaml then says.
        logger.log_hyperparams(config.to_dict())
    return logger


def _stay_offline() -> None:
    # Both packages take this from the environment alone; it has to stand before their first import.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["WANDB_MODE"] = "offline"
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    os.environ["WANDB_SILENT"] = "true"


def _mlflow(config: FitConfig, folder: Path, store: Path) -> Any:
    import mlflow  # noqa: F401 - sets the levels of its loggers, which are changed next
    from lightning.pytorch.loggers import MLFlowLogger

    for talkative in ("mlflow", "alembic", "lightning.pytorch.loggers.mlflow"):
        logging.getLogger(talkative).setLevel(logging.ERROR)
    store.mkdir(parents=True, exist_ok=True)
    tracking = _read_tracking(folder)
    logger = MLFlowLogger(
        experiment_name=config.logger.project,
        run_name=f"{config.experiment} {folder.name}",
        tracking_uri=f"sqlite:///{(store / 'mlflow.db').resolve()}",
        artifact_location=(store / "artifacts").resolve().as_uri(),
        run_id=tracking.get("mlflow"),
    )
    _write_tracking(folder, {**tracking, "mlflow": str(logger.run_id)})
    return logger


def _wandb(config: FitConfig, folder: Path) -> Any:
    from lightning.pytorch.loggers import WandbLogger

    tracking = _read_tracking(folder)
    run_id = tracking.get("wandb") or uuid.uuid4().hex[:8]
    _write_tracking(folder, {**tracking, "wandb": run_id})
    return WandbLogger(
        project=config.logger.project,
        name=f"{config.experiment} {folder.name}",
        save_dir=str(folder),
        id=run_id,
        offline=True,
        log_model=False,
    )


def _read_tracking(folder: Path) -> dict[str, str]:
    path = folder / TRACKING
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _write_tracking(folder: Path, identifiers: dict[str, str]) -> None:
    write_atomically(folder / TRACKING, json.dumps(identifiers))
