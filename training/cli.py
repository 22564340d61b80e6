"""Command line of the training package: parse, compose, run.

python -m training prepare --data DATA --cache CACHE
python -m training fit     --data DATA --cache CACHE --run RUN --max-minutes 70
python -m training export  --data DATA --cache CACHE --weights RUN/best.pt --bundle FOLDER
python -m training test    --data DATA --cache CACHE --bundle FOLDER --part test
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

from training.data.splits import DEFAULT_SPLIT, PARTS

console = Console()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit status."""
    arguments = build_parser().parse_args(argv)
    handler = RichHandler(console=console, show_path=False) if console.is_terminal else logging.StreamHandler()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", handlers=[handler], force=True)
    logging.getLogger("training").setLevel(logging.INFO)
    status: int = arguments.run_command(arguments)
    return status


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    common.add_argument("--cache", type=Path, required=True, help="folder for cached arrays")
    common.add_argument("--split", type=Path, default=DEFAULT_SPLIT, help="split by patient")
    common.add_argument("--threads", type=int, default=2, help="CPU threads")

    prepare = commands.add_parser("prepare", parents=[common], help="cache slices, check split")
    prepare.add_argument("--new-split", action="store_true", help="write the split anew")
    prepare.set_defaults(run_command=run_prepare)

    fit = commands.add_parser("fit", parents=[common], help="train; resumes a run it finds")
    fit.add_argument("--run", type=Path, required=True, help="folder of the run")
    length = fit.add_mutually_exclusive_group(required=True)
    length.add_argument("--max-minutes", type=float, help="length in minutes of training")
    length.add_argument("--steps", type=int, help="length in steps (repeatable to the bit)")
    fit.add_argument("--network", default="mobilenetv2-unet")
    fit.add_argument("--batch-size", type=int, default=16)
    fit.add_argument("--learning-rate", type=float, default=2e-3)
    fit.add_argument("--seed", type=int, default=42)
    fit.add_argument("--crop-size", type=int, default=192, help="image size at first")
    fit.add_argument("--crop-until", type=float, default=0.6, help="fraction of the run")
    fit.add_argument("--encoder-weights", type=Path, help="torchvision mobilenet_v2 state dict")
    fit.add_argument("--encoder-lr-factor", type=float, help="default 0.1 with weights, else 1")
    fit.add_argument("--validate-every", type=float, default=240.0, metavar="SECONDS")
    fit.add_argument("--fp32", action="store_true", help="no bfloat16")
    fit.set_defaults(run_command=run_fit)

    export = commands.add_parser("export", parents=[common], help="write a model bundle")
    export.add_argument("--weights", type=Path, required=True, help="best.pt of a run")
    export.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    export.add_argument("--version", default="0.9.0")
    export.add_argument("--postprocessing", type=Path, help="JSON written by `test --choose`")
    export.add_argument("--metrics", type=Path, help="JSON written by `test`, for the card")
    export.set_defaults(run_command=run_export)

    test = commands.add_parser("test", parents=[common], help="evaluate a bundle per patient")
    test.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    test.add_argument("--part", choices=PARTS, default="val")
    test.add_argument("--choose", action="store_true", help="choose postprocessing (val only)")
    test.add_argument("--out", type=Path, help="folder for JSON tables")
    test.add_argument("--pictures", type=Path, help="folder for pictures of the worst cases")
    test.set_defaults(run_command=run_test)
    return parser


def _open(arguments: argparse.Namespace):  # type: ignore[no-untyped-def]  # heavy types imported late
    import torch

    from training.data.cache import open_cache
    from training.data.cases import find_cases
    from training.data.splits import check_leaks, load_split

    torch.set_num_threads(arguments.threads)
    cases = find_cases(arguments.data, "flair")
    split = load_split(arguments.split)
    check_leaks(split, cases)
    with console.status("reading cases") as status:
        cache = open_cache("flair", cases, arguments.cache, lambda name, done, total: status.update(f"reading {name}"))
    return cases, split, cache


def run_prepare(arguments: argparse.Namespace) -> int:
    """Make the cache and print what each part of the split holds."""
    from training.data.cases import find_cases
    from training.data.splits import make_split, save_split

    if arguments.new_split:
        save_split(make_split(find_cases(arguments.data, "flair")), arguments.split)
    cases, split, cache = _open(arguments)
    for part in PARTS:
        chosen = split.select(cases, part)
        lgg = sum(case.dataset == "lgg" for case in chosen)
        console.print(f"{part}: {lgg} LGG, {len(chosen) - lgg} BraTS")
    console.print(f"quarantine: {len(split.quarantine)}; slices: {len(cache.images_SHW)}")
    return 0


def run_fit(arguments: argparse.Namespace) -> int:
    """Train a network."""
    from training.fit import FitConfig, Trainer
    from training.schedule import Schedule

    _, split, cache = _open(arguments)
    config = FitConfig(
        Schedule(
            arguments.steps,
            arguments.max_minutes,
            crop_size=arguments.crop_size,
            crop_until=arguments.crop_until,
        ),
        network=arguments.network,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        use_bf16=not arguments.fp32,
        encoder_weights=arguments.encoder_weights,
        encoder_lr_factor=arguments.encoder_lr_factor,
        validate_every_s=arguments.validate_every,
    )
    train, val = (cache.select(split.parts[part]) for part in ("train", "val"))
    score = Trainer(config, cache, train, val, arguments.run).run()
    console.print(f"best validation Dice (mean of the sets' means): {score:.4f}")
    return 0


def run_export(arguments: argparse.Namespace) -> int:
    """Write a model bundle."""
    from training.bundle import write_bundle

    write_bundle(
        arguments.weights,
        arguments.bundle,
        arguments.version,
        postprocessing=arguments.postprocessing,
        metrics=arguments.metrics,
    )
    return 0


def run_test(arguments: argparse.Namespace) -> int:
    """Evaluate a bundle on one part of the split."""
    from training.evaluate import evaluate_bundle, print_results

    _, split, cache = _open(arguments)
    results = evaluate_bundle(
        arguments.bundle,
        cache,
        cache.select(split.parts[arguments.part]),
        part=arguments.part,
        choose=arguments.choose,
        out=arguments.out,
        pictures=arguments.pictures,
    )
    print_results(results, console)
    return 0
