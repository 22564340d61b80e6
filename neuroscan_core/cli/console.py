"""What all commands share: their options and the ways to show something."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from neuroscan_core.config import NodeConfig

ConfigFile = Annotated[
    Path | None, typer.Option("-c", "--config", help="Configuration file; without it every key has its default.")
]


def load(path: Path | None) -> NodeConfig:
    """Read the configuration of a command."""
    from neuroscan_core.config import load_config

    return load_config(path)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, as wide as the terminal; unfolded where the output is a file or a pipe."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)


def show_time(seconds: float | None) -> str:
    """Local time of a Unix time."""
    from datetime import datetime

    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S") if seconds else ""
