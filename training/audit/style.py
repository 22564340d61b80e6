"""How charts look: colours that colour-blind people can tell apart, sizes, and a figure without pyplot's globals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

# Okabe and Ito 2008, without yellow, which is too light for lines.
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Prescribed: right green, invented red, missed blue. They are laid over grey, and named in each legend.
RIGHT, INVENTED, MISSED = "#00B050", "#E0102A", "#2060FF"
TRUTH_LINE, PREDICTION_LINE = "#FFD400", "#00E5FF"
INK, FAINT = "#1B2430", "#8A94A3"
# Necrotic core, oedema, enhancing tumour: none of the three above, which stand for errors.
LABEL_COLOURS = ("#B565C9", "#E87B00", "#F0E442")

RC = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E8EE",
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 2.0,
    "savefig.facecolor": "white",
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of this package inside the context."""
    import matplotlib

    with matplotlib.rc_context(RC):
        yield


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """Return a figure (inches) and its axes, one or an array of them; nothing of it is global."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def picture_grid(rows: int, columns: int, side: float = 2.1) -> tuple[Any, npt.NDArray[Any]]:
    """Return a figure of square pictures without axes, and its axes in two dimensions."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * side, rows * side + 0.45), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    axes = np.atleast_2d(figure.subplots(rows, columns, squeeze=False))
    for entry in axes.flat:
        entry.set_axis_off()
        entry.grid(False)
    return figure, axes


def legend_of(figure: Any, entries: dict[str, str], *, lines: bool = False) -> None:
    """Add a legend of names and colours below the pictures."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], color=colour, label=name, linewidth=2.5) if lines else Patch(facecolor=colour, label=name)
        for name, colour in entries.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def rgb(colour: str) -> npt.NDArray[np.float32]:
    """Return a hexadecimal colour as three numbers in [0, 1]."""
    return np.array([int(colour[n : n + 2], 16) / 255.0 for n in (1, 3, 5)], dtype=np.float32)
