"""`make bench`: one table of this node beside its peers, and the same figures in `build/bench.json`."""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import loopback

OUTPUT = Path("build/bench.json")
PACKAGES = ("numpy", "onnxruntime", "pydicom", "pynetdicom", "highdicom", "pyzmq")


def device() -> dict[str, Any]:
    """What the figures were measured on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    import os

    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def parts(num_series: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """Name -> measurement; imported one by one, as each needs its own peers."""

    def ingest() -> dict[str, Any]:
        from benchmarks import ingest as module

        return module.measure()

    def end_to_end() -> dict[str, Any]:
        from benchmarks import end_to_end as module

        return module.measure(num_series)

    def segmentation() -> dict[str, Any]:
        from benchmarks import segmentation as module

        return module.measure()

    def bus() -> dict[str, Any]:
        from benchmarks import bus as module

        return module.measure()

    def results() -> dict[str, Any]:
        from benchmarks import results as module

        return module.measure()

    def studies() -> dict[str, Any]:
        from benchmarks import studies as module

        return module.measure()

    def training_data() -> dict[str, Any]:
        from benchmarks import training_data as module

        return module.measure()

    def viewer() -> dict[str, Any]:
        from benchmarks import viewer as module

        return module.measure()

    def ros_bus() -> dict[str, Any]:
        from benchmarks import ros_bus as module

        return module.measure()

    from benchmarks.viewer import available

    under_ros = {"ros_bus": ros_bus} if importlib.util.find_spec("rclpy") else {}
    in_browser = {"viewer": viewer} if available() else {}
    return {
        "ingest": ingest, "segmentation": segmentation, "bus": bus, "results": results, "end_to_end": end_to_end,
        "studies": studies, "training_data": training_data, **in_browser,
        **under_ros,
    }  # fmt: skip


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", help="measure only this part; may be repeated")
    parser.add_argument("--series", type=int, default=20, help="series for the latency percentiles (default 20)")
    options = parser.parse_args()
    fair = loopback.enter(["-m", "benchmarks", *sys.argv[1:]])
    console = Console()
    figures: dict[str, Any] = {"device": device(), "loopback_quickack": fair}
    if OUTPUT.exists() and options.only:
        figures = {**json.loads(OUTPUT.read_text()), **figures}
    for name, measure in parts(options.series).items():
        if options.only and name not in options.only:
            continue
        console.print(f"[bold]{name}[/bold] ...")
        figures[name] = measure()
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=1))
    table = Table(title=f"{figures['device']['cpu']}, {figures['device']['cores']} cores")
    for column, justify in (("part", "left"), ("figure", "left"), ("value", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for part in parts(0):
        for key, value in figures.get(part, {}).items():
            table.add_row(part, key, f"{value:,.3f}" if isinstance(value, float) else str(value))
    console.print(table)
    if not fair:
        console.print("Without root no namespace of its own: figures with DCMTK as a peer are not fair.")
    console.print(f"written to {OUTPUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
