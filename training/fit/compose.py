"""Composing a run's configuration: `training/configs`, an experiment, changes from the command line (Hydra).

A key that does not exist is refused, with the nearest one that does. What the
keys mean is in `config`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from neuroscan_core.domain.errors import ConfigurationError
from training.fit.config import FitConfig

CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "configs"
# Free-form: their keys are the arguments of a network, a loss, the data module or the augmentation.
LENGTH_KEYS = ("schedule.max_steps", "schedule.max_epochs", "schedule.max_minutes")
FREE_KEYS = ("network.options.", "loss.options.", "data.options.", "augment.")


def list_experiments() -> dict[str, str]:
    """Return the recipes by name, with the line that describes each."""
    experiments = {}
    for path in sorted((CONFIG_FOLDER / "experiment").glob("*.yaml"), key=lambda path: path.stem):
        experiments[path.stem] = str(yaml.safe_load(path.read_text(encoding="utf-8")).get("title", ""))
    return experiments


def compose_config(experiment: str, overrides: Sequence[str] = ()) -> FitConfig:
    """Compose and check the configuration of a run.

    Parameters
    ----------
    experiment : str
        A name of `list_experiments`.
    overrides : sequence of str
        ``key=value`` or ``group=choice``, in Hydra's grammar.

    Raises
    ------
    ConfigurationError
        An experiment, key or value cannot be used; the message says which is near.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    known = list_experiments()
    if experiment not in known:
        raise ConfigurationError(
            f"There is no experiment {experiment!r}.{_near(experiment, known)}",
            remedy="`python -m training fit --list` shows them all.",
        )
    changes = [*_single_length(overrides), *(_allow_free_key(text) for text in overrides)]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            composed = compose("config", [f"+experiment={experiment}", f"experiment_name={experiment}", *changes])
        values = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException) as exc:
        raise _explained(exc) from exc
    assert isinstance(values, dict)
    named = {str(key): value for key, value in values.items()}
    named["experiment"] = named.pop("experiment_name")
    return config_from_dict(named)


def config_from_dict(values: dict[str, Any]) -> FitConfig:
    """Read nested plain values, e.g. the `config.yaml` of a run.

    Raises
    ------
    ConfigurationError
        A key is unknown or a value has the wrong type.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        merged = OmegaConf.merge(OmegaConf.structured(FitConfig), values)
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as exc:
        raise _explained(exc) from exc
    assert isinstance(config, FitConfig)
    config.check()
    return config


def dump_config(config: FitConfig) -> str:
    """Return the composed configuration as YAML."""
    return yaml.safe_dump(config.to_dict(), sort_keys=False)


def load_config(path: Path) -> FitConfig:
    """Read a file of what `dump_config` returned."""
    return config_from_dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def _single_length(overrides: Sequence[str]) -> list[str]:
    # A length given on the command line takes the place of the experiment's.
    given = {text.split("=")[0] for text in overrides}
    return [f"{key}=null" for key in LENGTH_KEYS if given & set(LENGTH_KEYS) and key not in given]


def _allow_free_key(override: str) -> str:
    # Hydra wants "++" for keys that may be new; in free-form parts all keys may be.
    if override.startswith(FREE_KEYS) and "=" in override:
        return f"++{override}"
    return override


def _explained(exc: Exception) -> ConfigurationError:
    text = str(exc)
    show = "`python -m training fit experiment=NAME --print` shows all keys."
    unknown = re.search(r"Could not override '([^']+)'", text) or re.search(r"[Kk]ey '([^']+)' (?:is )?not in", text)
    if unknown:
        key = getattr(exc, "full_key", None) or unknown.group(1)
        return ConfigurationError(
            f"There is no key {key!r} in the configuration.{_near(key, known_keys())}", remedy=show
        )
    choice = re.search(r"Could not find '([^']+)/([^'/]+)'", text)
    if choice:
        group, name = choice.groups()
        known = [path.stem for path in sorted((CONFIG_FOLDER / group).glob("*.yaml"))]
        return ConfigurationError(
            f"There is no {group} {name!r}.{_near(name, known)}", remedy=f"Known: {', '.join(known)}."
        )
    key = getattr(exc, "full_key", None)
    place = f" at {key!r}" if key else ""
    return ConfigurationError(f"The configuration cannot be used{place}: {text.strip().splitlines()[0]}.", remedy=show)


def known_keys() -> list[str]:
    """Return every key that has a fixed name, dotted."""
    return list(_flatten(FitConfig(kind="slice25d").to_dict()))


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")


def _near(word: str, known: Sequence[str] | dict[str, str]) -> str:
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    if not matches:
        last = {name.rsplit(".", 1)[-1]: name for name in known}
        matches = [last[m] for m in difflib.get_close_matches(word.rsplit(".", 1)[-1], list(last), n=1, cutoff=0.5)]
    return f" The nearest is {matches[0]!r}." if matches else ""
