"""`compare`: networks and engines side by side on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "put networks and engines side by side: accuracy, speed, size, memory"
EPILOG = """\
  python -m training compare --bundles models/drunet-flair models/mobilenetv2-unet-flair \\
      --data DATA --cache CACHE --out study
  python -m training compare --bundles models/* --out study            # without data: speed, size and memory alone

Every engine that is here takes part: ONNX Runtime in float32 and, where the bundle has it, int8; ONNX Runtime on
CUDA; TensorRT. Candidates take turns, so that a busy machine is unfair to all of them alike. Writes comparison.md,
comparison.csv and comparison.png.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `compare`."""
    from training.cli.common import add_data_arguments

    parser.epilog = EPILOG
    parser.add_argument("--bundles", type=Path, nargs="+", required=True, metavar="B", help="folders of bundles")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for tables and plot")
    add_data_arguments(parser, required=False, threads=1)
    parser.add_argument("--part", choices=("val", "test"), nargs="+", default=["val"], help="parts for the accuracy")
    parser.add_argument("--engines", nargs="+", default=[], metavar="E", help="only these engines")
    parser.add_argument("--plans", type=Path, metavar="DIR", help="where TensorRT keeps its plans (default: OUT/plans)")
    parser.add_argument("--no-tta", action="store_true", help="leave test-time augmentation out")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of every candidate")
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="most runs in a turn")


def run(arguments: argparse.Namespace) -> int:
    """Compare."""
    from rich.console import Console

    from neuroscan_core.domain.errors import EngineUnavailable
    from training.cli.common import use_threads
    from training.compare.candidate import candidates_here
    from training.compare.measure import measure
    from training.compare.study import as_records, device_lines, make_row
    from training.compare.table import markdown, write_comparison

    console = Console()
    use_threads(arguments.threads)
    plans = arguments.plans or arguments.out / "plans"
    candidates, left_out = candidates_here(arguments.bundles, arguments.engines, arguments.threads, plans)
    counts = {"engine": arguments.runs, "tta": max(1, arguments.runs // 3), "pipeline": arguments.runs}
    with console.status("measuring") as status:
        measured, refused = measure(candidates, num_rounds=arguments.rounds, counts=counts, progress=status.update)
    for line in (*left_out, *refused):
        console.print(line)
    if not measured:
        raise EngineUnavailable("No candidate could be measured.", remedy="See the lines above.")
    rows = [make_row(entry) for entry in measured]
    if arguments.data and arguments.cache:
        _add_scores(arguments, rows)
    records, device = as_records(rows), device_lines(arguments.threads)
    files = write_comparison(records, device, arguments.rounds, arguments.out)
    console.print(markdown(records, device, arguments.rounds), soft_wrap=True, markup=False)
    console.print("wrote " + ", ".join(map(str, files)))
    return 0


def _add_scores(arguments: argparse.Namespace, rows) -> None:  # type: ignore[no-untyped-def]  # imported late
    from functools import cache

    from training.cli.common import open_view
    from training.cli.test import split_of_bundle
    from training.compare.study import add_scores
    from training.data.cases import SPLIT_OF_VIEW

    opened = cache(lambda view, split: open_view(view, arguments.data, arguments.cache, split))

    def score(row, part: str) -> None:  # type: ignore[no-untyped-def]
        def cases_of(view: str, part: str):  # type: ignore[no-untyped-def]
            of_training = split_of_bundle(row.candidate.folder)
            arrays, split = opened(view, arguments.split or of_training or SPLIT_OF_VIEW[view])
            return arrays, arrays.select(split.parts[part])

        add_scores(row, part, cases_of, tta=not arguments.no_tta)

    for row in rows:
        for part in arguments.part:
            score(row, part)
