"""`prepare`: cache the data as arrays, check the splits."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.data.cases import SPLIT_OF_VIEW

HELP = "cache the data as arrays and check the splits; goes on where it was ended"
EPILOG = """\
DATA holds folders of any of these layouts; each is found by what it holds:

  brats/CASE/CASE_flair.nii.gz ...  BraTS, four sequences and _seg (2012 to 2021; from 2023 on -t2f, -t1n, -t1c, -t2w)
  Task01_BrainTumour/dataset.json   Medical Segmentation Decathlon
  lgg/CASE/CASE_7.png               slices with CASE_7_mask.png beside them, or the publisher's .tif
  pictures/glioma/ ...              class folders: glioma, meningioma, notumor, pituitary
  dicom_cases/CASE/                 MR series with a DICOM SEG, for example cases that were corrected in the PACS

  python -m training prepare --data DATA --cache CACHE
  python -m training prepare --data DATA --cache CACHE --view pictures
  python -m training prepare --data DATA --cache CACHE --view flair --new-split --split my-split.json

The cache's folder is named after the contents of the files: changed data makes a new one. Killed at any point, the
same command goes on with the case that was under way.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `prepare`."""
    from training.cli.common import add_data_arguments

    parser.epilog = EPILOG
    add_data_arguments(parser)
    parser.add_argument("--view", choices=[*SPLIT_OF_VIEW, "all"], default="all", help="what to cache (default: all)")
    parser.add_argument("--new-split", action="store_true", help="divide the view anew and write it to --split FILE")


def run(arguments: argparse.Namespace) -> int:
    """Make the caches and say what each part of the split holds."""
    from rich.console import Console
    from rich.table import Table

    from neuroscan_core.domain.errors import ConfigurationError
    from training.data.cases import find_cases

    if arguments.new_split and (arguments.view == "all" or not arguments.split):
        raise ConfigurationError("--new-split needs one --view and --split FILE to write to.")
    if arguments.split and arguments.view == "all":
        raise ConfigurationError("--split belongs to one view.", remedy="Say which by --view.")
    cases = find_cases(arguments.data)
    views = [view for view in SPLIT_OF_VIEW if arguments.view in (view, "all")]
    if arguments.view == "all":
        views = [view for view in views if any(case.offers(view) for case in cases)]
    console = Console()
    table = Table(title="prepared")
    for column in ("view", "cases", "slices", "MiB", "split", "train / val / test"):
        table.add_column(column)
    for view in views:
        cache = _cache(view, cases, arguments.cache, console)
        name, sizes = _split(view, cache, cases, arguments)
        size = sum(path.stat().st_size for path in cache.folder.iterdir()) / 2**20 if cache.folder else 0
        table.add_row(view, str(len(cache.cases)), str(len(cache.images_SCHW)), f"{size:.0f}", name, sizes)
    console.print(table)
    return 0


def _cache(view: str, cases, cache_root: Path, console):  # type: ignore[no-untyped-def]  # imported late
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from training.data.cache import open_cache

    quiet = not console.is_terminal
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[case]}"), console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task(view, total=None, case="digests of the files")

        def show(name: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, case=name)

        return open_cache(view, cases, cache_root, show)


def _split(view: str, cache, cases, arguments: argparse.Namespace) -> tuple[str, str]:  # type: ignore[no-untyped-def]
    """Make or load the split and check it; returns its name and sizes."""
    from training.data.splits import check_leaks, check_near_duplicates, load_split, make_new_split, save_split

    if arguments.new_split:
        path = Path(arguments.split)
        save_split(make_new_split(cache, path.stem), path)
    given = arguments.split is not None and (arguments.new_split or arguments.view != "all")
    split = load_split(arguments.split if given else SPLIT_OF_VIEW[view])
    known = {case.name for case in cache.cases}
    placed = [name for names in split.parts.values() for name in names]
    if not given and not known & set(placed):
        return "none for this data: --new-split", ""
    check_leaks(split, [case for case in cases if case.offers(view)])
    cache.select(placed)
    check_near_duplicates(split, cache)
    return split.name, " / ".join(str(len(split.parts[part])) for part in ("train", "val", "test"))
