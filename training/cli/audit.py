"""`audit`: one page with everything there is to see about a network."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

HELP = "draw the audit of a network: one self-contained page, and PDF"
EPILOG = """\
  python -m training audit --bundle BUNDLE --run RUN --data DATA --cache CACHE --out audit.html --pdf audit.pdf
  python -m training audit --bundle BUNDLE --split lgg-only.json --external brats --data DATA --cache CACHE --out a.html

Some twenty pictures: overlaps, best and worst cases, curves of the training (needs --run), Dice by patient and region,
confusion, ROC, calibration, volumes, lesions, where errors lie, uncertainty, augmentation at test time, external test.
The page shows patients: do not publish it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `audit`."""
    from training.cli.common import add_data_arguments

    parser.epilog = EPILOG
    parser.add_argument("--bundle", type=Path, metavar="B", help="folder of a bundle: its ONNX file is audited")
    parser.add_argument("--run", type=Path, metavar="R", help="folder of its run: history, and best.pt without bundle")
    add_data_arguments(parser, required=False, threads=1)
    parser.add_argument("--part", choices=("train", "val", "test"), default="val", help="part of the split")
    parser.add_argument("--external", metavar="DATASET", help="also all cases of a data set that training never saw")
    parser.add_argument(
        "--no-tta", action="store_true", help="leave test-time augmentation out, which triples the time"
    )
    parser.add_argument("--out", type=Path, metavar="HTML", help="file of the page")
    parser.add_argument("--pdf", type=Path, metavar="PDF", help="file of the same as PDF")


def run(arguments: argparse.Namespace) -> int:
    """Draw."""
    from rich.table import Table

    from training.audit.collect import collect_pictures, collect_segmentation
    from training.audit.evidence import Evidence, summary_of
    from training.audit.pages import headline, write_audit
    from training.cli.test import cases_to_test, open_console, open_model, open_split, require

    require(arguments, "audit", "data", "cache", "out")
    console = open_console()
    model = open_model(arguments)
    cache, split = open_split(arguments, model)
    cases = cache.select(split.parts[arguments.part])
    external = cases_to_test(arguments, cache, split, console)[0] if arguments.external else []
    with tempfile.TemporaryDirectory(prefix="audit-") as folder, console.status("predicting") as status:
        evidence: Evidence
        if model.view == "pictures":
            evidence = collect_pictures(model, cache, cases, arguments.part, arguments.run, tta=not arguments.no_tta)
        else:
            evidence = collect_segmentation(
                model, cache, cases, arguments.part, Path(folder), arguments.run, external, tta=not arguments.no_tta
            )
        count, missing = write_audit(evidence, arguments.out, arguments.pdf, lambda title: status.update(title))
        table = Table("set", "figure", "", title=f"audit of {model.name}")
        for row in headline(summary_of(evidence)):
            table.add_row(*row)
    console.print(table)
    console.print(f"{count} pictures in {arguments.out}" + (f" and {arguments.pdf}" if arguments.pdf else ""))
    if missing:
        console.print(f"not drawn: {', '.join(missing)}")
    return 0
