"""What several commands share: options for data, cache, split and threads, and opening them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.data.cache import ArrayCache
    from training.data.splits import Split


def add_data_arguments(parser: argparse.ArgumentParser, *, required: bool = True, threads: int = 0) -> None:
    """Add `--data`, `--cache`, `--split` and `--threads`."""
    parser.add_argument("--data", type=Path, required=required, metavar="DATA", help="folder of the data sets")
    parser.add_argument("--cache", type=Path, required=required, metavar="CACHE", help="folder for cached arrays")
    parser.add_argument(
        "--split", metavar="FILE", help="split by patient: a file, or a name such as flair-v1 (default: the training's)"
    )
    parser.add_argument("--threads", type=int, default=threads, metavar="N", help="CPU threads (0: PyTorch's choice)")


def use_threads(number: int) -> None:
    """Limit PyTorch to so many CPU threads; 0 leaves its choice."""
    if number > 0:
        import torch

        torch.set_num_threads(number)
        # Libraries that start later, and further processes of a run, follow it too.
        os.environ["OMP_NUM_THREADS"] = str(number)


def open_view(view: str, data: Path, cache_root: Path, split: str | Path) -> tuple[ArrayCache, Split]:
    """Open the cache of a view (made where absent, with a progress bar) and the split; refuse leaks.

    Raises
    ------
    NeuroScanError
        Data, cache or split cannot be used.
    """
    from rich.progress import Progress

    from training.data.cache import open_cache
    from training.data.cases import find_cases
    from training.data.splits import check_leaks, load_split

    chosen = load_split(split)
    cases = find_cases(data)
    check_leaks(chosen, [case for case in cases if case.offers(view)])
    with Progress(transient=True) as bar:
        task = bar.add_task("reading cases", total=None)
        cache = open_cache(
            view, cases, cache_root, lambda name, done, total: bar.update(task, completed=done, total=total)
        )
    return cache, chosen
