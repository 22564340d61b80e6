"""`fit`: compose a recipe, train it, resume what is there."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "train a recipe; a run that is found in the folder is resumed"
EPILOG = """\
EXPERIMENT is one of `--list`; KEY=VALUE changes any key that `--print` shows.

  python -m training fit --list
  python -m training fit experiment=unet-brats --print
  python -m training fit experiment=unet-brats-cpu --data DATA --cache CACHE --run runs/unet
  python -m training fit experiment=classifier --data DATA --cache CACHE --run runs/c schedule.max_epochs=10
  python -m training fit experiment=segresnet --data DATA --cache CACHE --run runs/s \\
      trainer.devices=2 trainer.strategy=ddp logger=wandb

Killed at any point, the same command goes on from last.pt. On Ctrl-C or `kill PID` the step under way is finished and
the state saved; a validation that is under way is made again. The run's folder gets last.pt (to resume), best.pt (to
export), config.yaml, history.csv and the logger's store. Groups to choose from: data, network, loss, optimiser,
schedule, augment, trainer, logger (training/configs).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fit`."""
    from training.cli.common import add_data_arguments

    parser.epilog = EPILOG
    parser.usage = "python -m training fit experiment=NAME --data DATA --cache CACHE --run RUN [key=value ...]"
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="experiment=NAME, and changes to it")
    add_data_arguments(parser, required=False)
    parser.add_argument("--run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("--mlruns", type=Path, metavar="FOLDER", help="MLflow store of many runs (default: in RUN)")
    parser.add_argument("--list", action="store_true", help="show the experiments and end")
    parser.add_argument("--print", action="store_true", help="show the composed configuration and end")


def run(arguments: argparse.Namespace) -> int:
    """Train a network."""
    from rich.console import Console

    from neuroscan_core.domain.errors import ConfigurationError

    console = Console()
    if arguments.list:
        return _list(console)
    config = _compose(arguments)
    if arguments.print:
        from training.fit.compose import dump_config

        print(dump_config(config), end="")
        return 0
    missing = [f"--{name}" for name in ("data", "cache", "run") if getattr(arguments, name) is None]
    if missing:
        raise ConfigurationError(
            f"fit needs {', '.join(missing)}.", remedy="`python -m training fit --help` shows how."
        )
    return _fit(arguments, config, console)


def _list(console) -> int:  # type: ignore[no-untyped-def]  # rich is imported late
    from rich.table import Table

    from training.fit.compose import list_experiments

    table = Table("experiment", "what it trains", box=None, pad_edge=False)
    for name, title in list_experiments().items():
        table.add_row(name, title)
    console.print(table)
    return 0


def _compose(arguments: argparse.Namespace):  # type: ignore[no-untyped-def]  # its type is imported late
    from neuroscan_core.domain.errors import ConfigurationError
    from training.fit.compose import compose_config

    wrong = [text for text in arguments.overrides if "=" not in text]
    if wrong:
        raise ConfigurationError(f"{wrong[0]!r} is not KEY=VALUE.", remedy=f"experiment={wrong[0]} may be meant.")
    named = [text for text in arguments.overrides if text.startswith("experiment=")]
    if len(named) != 1:
        raise ConfigurationError(
            "fit needs one experiment=NAME.", remedy="`python -m training fit --list` shows the experiments."
        )
    overrides = [text for text in arguments.overrides if text not in named]
    if arguments.split:
        overrides.append(f"data.split='{arguments.split}'")
    if arguments.threads:
        overrides.append(f"trainer.threads={arguments.threads}")
    return compose_config(named[0].removeprefix("experiment="), overrides)


def _fit(arguments: argparse.Namespace, config, console) -> int:  # type: ignore[no-untyped-def]
    from training.cli.common import open_view, use_threads

    use_threads(config.trainer.threads)
    cache, split = open_view(config.view, arguments.data, arguments.cache, config.data.split)
    from training.fit.run import run_fit
    from training.fit.state import is_first_process

    result = run_fit(config, cache, split, arguments.run, store=arguments.mlruns, console=console)
    if is_first_process():
        _summary(console, config, result)
    return 128 + result.signum if result.signum else 0


def _summary(console, config, result) -> None:  # type: ignore[no-untyped-def]
    import math

    from rich.table import Table

    table = Table(title=f"{config.experiment}: {'finished' if result.finished else 'stopped'}", show_header=False)
    score = "none" if math.isinf(result.score) else f"{result.score:.4f}"
    table.add_row("best validation score", score)
    table.add_row("steps, epochs", f"{result.step}, {result.epoch}")
    table.add_row("training time", f"{result.minutes:.1f} min")
    table.add_row("weights", _file(result.folder / "best.pt", "none yet: nothing was validated"))
    if not result.finished:
        table.add_row("state", _file(result.folder / "last.pt", "none yet: nothing was saved"))
    console.print(table)
    if not result.finished:
        console.print("The same command goes on from the saved state.", highlight=False)


def _file(path: Path, absent: str) -> str:
    return str(path) if path.exists() else absent
