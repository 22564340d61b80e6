"""`test`: evaluate a bundle or a run, per patient."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from training.data.cache import ArrayCache, CachedCase
    from training.data.splits import Split
    from training.evaluate import Model

WIDTH_OF_FILES = 140
HELP = "evaluate per patient: regions, lesions, calibration, intervals; internal or external test"
EPILOG = """\
Choose threshold and postprocessing on validation patients, export with them, and test once:

  python -m training test --run RUN --data DATA --cache CACHE --part val --choose --out RUN/eval
  python -m training export --run RUN --bundle BUNDLE --postprocessing RUN/eval/postprocessing.json
  python -m training test --bundle BUNDLE --data DATA --cache CACHE --part test --tta --out RUN/eval

The ONNX file of a bundle is what is evaluated, with the threshold of its card; a run takes what was chosen before by
--postprocessing RUN/eval/postprocessing.json. Without --split, the split is that of the training.

A data set that training never saw (the card, --run or --split say what it saw):

  python -m training test --bundle BUNDLE --run RUN --data DATA --cache CACHE --external brats --out RUN/eval

A curve over runs that were trained with 8, 16 and 42 patients:

  python -m training test --curve 8=a/val.json 16=b/val.json 42=c/val.json --out curve
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `test`."""
    from training.cli.common import add_data_arguments

    parser.epilog = EPILOG
    parser.add_argument("--bundle", type=Path, metavar="B", help="folder of a bundle: its ONNX file is evaluated")
    parser.add_argument("--run", type=Path, metavar="R", help="folder of a run: best.pt, where no bundle is given")
    add_data_arguments(parser, required=False, threads=1)
    parser.add_argument("--part", choices=("train", "val", "test"), default="val", help="part of the split")
    parser.add_argument("--external", metavar="DATASET", help="all cases of a data set that training never saw")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--choose", action="store_true", help="choose threshold and smallest part (val only)")
    chosen.add_argument(
        "--postprocessing", type=Path, metavar="FILE", help="what --choose wrote (default: the card's; of a run: 0.5)"
    )
    parser.add_argument("--tta", action="store_true", help="with test-time augmentation too, and what it costs")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for JSON and CSV")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="folder for pictures of the worst cases")
    parser.add_argument("--curve", nargs="+", metavar="N=JSON", help="learning curve of results by training patients")
    parser.add_argument("--figure", default="dice_mean", help="what the curve shows (default: dice_mean)")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate."""
    console = open_console()
    if arguments.curve:
        return _curve(arguments, console)
    require(arguments, "test", "data", "cache")
    from training.evaluate import evaluate_model, print_results, write_results
    from training.evaluate.choice import require_validation

    if arguments.choose:
        require_validation("an external set" if arguments.external else arguments.part)
    model = _with_postprocessing(open_model(arguments), arguments.postprocessing)
    cache, split = open_split(arguments, model)
    cases, part = cases_to_test(arguments, cache, split, console)
    results = evaluate_model(
        model, cache, cases, part, choose=arguments.choose, tta=arguments.tta, pictures=arguments.pictures
    )
    results["split"] = split.name
    print_results(results, console)
    if arguments.out is not None:
        for path in write_results(results, arguments.out):
            console.print(f"wrote {path}")
    return 0


def open_console() -> Console:
    """Return a console that keeps tables whole where they go into a file."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES)


def require(arguments: argparse.Namespace, command: str, *names: str) -> None:
    """Refuse a command without these options, or without a network.

    Raises
    ------
    ConfigurationError
        Naming what is missing.
    """
    from neuroscan_core.domain.errors import ConfigurationError

    missing = [f"--{name}" for name in names if getattr(arguments, name) is None]
    if arguments.bundle is None and arguments.run is None:
        missing.append("--bundle or --run")
    if missing:
        raise ConfigurationError(
            f"{command} needs {', '.join(missing)}.", remedy=f"`python -m training {command} --help` shows how."
        )


def open_model(arguments: argparse.Namespace) -> Model:
    """Open the bundle that is named, else the run."""
    from training.cli.common import use_threads
    from training.evaluate import open_bundle, open_run

    use_threads(arguments.threads)
    if arguments.bundle is not None:
        return open_bundle(arguments.bundle, max(arguments.threads, 1))
    return open_run(arguments.run, max(arguments.threads, 1))


def _with_postprocessing(model: Model, path: Path | None) -> Model:
    from dataclasses import replace

    from training.postprocessing import Postprocessing

    return model if path is None else replace(model, postprocessing=Postprocessing.read(path))


def open_split(arguments: argparse.Namespace, model: Model) -> tuple[ArrayCache, Split]:
    """Open the data that feeds a model, and the split: the one named, else that of the training, else of the data."""
    from training.cli.common import open_view
    from training.data.cases import SPLIT_OF_VIEW

    name = arguments.split or split_of_training(arguments) or SPLIT_OF_VIEW[model.view]
    return open_view(model.view, arguments.data, arguments.cache, name)


def split_of_training(arguments: argparse.Namespace) -> str:
    """Return the split that run or bundle say they were trained with; empty where neither says one."""
    return split_of_run(arguments.run) or split_of_bundle(arguments.bundle)


def split_of_bundle(folder: Path | None) -> str:
    """Return the split that a bundle's card names; empty where it names none.

    Raises
    ------
    ConfigurationError
        It is not a committed one: any other would put cases of the training into the test.
    """
    from neuroscan_core.domain.errors import ConfigurationError
    from neuroscan_core.inference.bundle import load_bundle
    from training.data.errors import DataError
    from training.data.splits import find_split

    if folder is None:
        return ""
    name = str((load_bundle(folder).card.raw.get("training") or {}).get("split") or "")
    if not name:
        return ""
    try:
        find_split(name)
    except DataError as exc:
        raise ConfigurationError(
            f"{folder} was trained with the split {name!r}, which is not a committed one.",
            remedy="Give the file of that split by --split: with another one, cases of the training would be tested.",
        ) from exc
    return name


def split_of_run(run: Path | None) -> str:
    """Return the split that a run's configuration names; empty where there is none."""
    import yaml

    path = run / "config.yaml" if run is not None else None
    if path is None or not path.is_file():
        return ""
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return str((content.get("data") or {}).get("split") or "")


def cases_to_test(
    arguments: argparse.Namespace, cache: ArrayCache, split: Split, console: Console
) -> tuple[list[CachedCase], str]:
    """Return the cases of the part, or of the external set, and what to call them.

    Raises
    ------
    NotExternal
        Training may have seen the set, or nothing says what it saw.
    """
    from training.evaluate import NotExternal, external_set, seen_by_split

    if not arguments.external:
        return cache.select(split.parts[arguments.part]), arguments.part
    if not arguments.split and not split_of_training(arguments):
        raise NotExternal(
            "Nothing says what the network was trained on, so no data set can be called external to it.",
            remedy="Give the run's folder by --run, or the split it was trained with by --split.",
        )
    found = external_set(arguments.external, cache.cases, seen_by_split(split, cache.cases))
    console.print(f"{len(found.cases)} cases of {found.dataset}; trained and chosen on split {split.name}")
    if found.left_out:
        console.print(f"left out, may show persons of the training: {', '.join(found.left_out)}")
    return list(found.cases), f"external-{found.dataset}"


def _curve(arguments: argparse.Namespace, console: Console) -> int:
    from training.evaluate.learning_curve import curve_table, learning_curve, read_results, save_curve

    points = learning_curve(read_results(arguments.curve), arguments.figure)
    console.print(curve_table(points, arguments.figure))
    for path in save_curve(points, arguments.out or Path(), arguments.figure):
        console.print(f"wrote {path}")
    return 0
