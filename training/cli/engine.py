"""`python -m training engine`: an engine is built for this machine, held against ONNX Runtime, and timed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from neuroscan_core.config import SegmenterConfig
    from neuroscan_core.inference.bundle import Bundle
    from training.engine.examination import Examination

HELP = "build and verify a TensorRT engine; time it alone and from slice to mask"
EPILOG = """\
examples:
  python -m training engine --bundle models/mobilenetv2-unet-flair
  python -m training engine --bundle mobilenetv2-unet-flair --engine onnxruntime --batch 1 4
  python -m training engine --bundle models/unet-brats --precision int8 --gate-only
  python -m training engine --bundle models/segresnet-brats --out /var/lib/neuroscan/engines

Without --out, nothing is kept. The node loads what lies in segmenter.tensorrt.plan_dir
if it was built on the same machine with the same --batch (segmenter.max_batch).
TensorRT 10.12 and later take FP16 from the ONNX file: where the bundle has no such file,
it is made and entered in the card.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--bundle", required=True, help="folder of a bundle, or name of one that is installed")
    parser.add_argument(
        "--engine", choices=("tensorrt", "onnxruntime-cuda", "onnxruntime", "triton"), default="tensorrt",
        help="what executes (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=("auto", "fp32", "fp16", "int8"), default="auto",
        help="default auto: FP16 on TensorRT; on onnxruntime INT8 where bundle and processor allow it; else FP32",
    )  # fmt: skip
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4], metavar="N", help="batch sizes (default 1 4)")
    parser.add_argument("--runs", type=int, default=100, metavar="N", help="timed runs of each (default %(default)s)")
    parser.add_argument("--gate-only", action="store_true", help="build and compare; time nothing")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder in which the engine is kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    parser.add_argument("--workspace-mib", type=int, default=1024, help="GPU memory for trials while building")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads of the engine (0: all)")


def run(arguments: argparse.Namespace) -> int:
    """Build, compare and time; the exit status is 1 where the engine is missing or refused."""
    from rich.console import Console

    from training.engine.examination import examine

    console, config = Console(), _config(arguments)
    bundle = _bundle(arguments.bundle)
    with console.status("loading or building the engine; a build takes minutes"):
        if arguments.engine == "tensorrt":
            bundle = _with_files(bundle, config)
        found = examine(bundle, config, [] if arguments.gate_only else arguments.batch, arguments.runs)
    console.print(_table(found))
    if arguments.json:
        arguments.json.write_text(json.dumps(found.as_json(), indent=1) + "\n", encoding="utf-8")
    return 0


def _config(arguments: argparse.Namespace) -> SegmenterConfig:
    from pydantic import ValidationError

    from neuroscan_core.config import SegmenterConfig
    from neuroscan_core.domain.errors import ConfigurationError

    try:
        return SegmenterConfig.model_validate(
            {
                "engine": arguments.engine,
                "precision": arguments.precision,
                "threads": arguments.threads,
                "max_batch": max(arguments.batch),
                "tensorrt": {"plan_dir": arguments.out, "workspace_mib": arguments.workspace_mib},
            }
        )
    except ValidationError as exc:
        reasons = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        raise ConfigurationError(f"These options do not fit: {reasons}.", remedy="See --help.") from exc


def _bundle(text: str) -> Bundle:
    from neuroscan_core.domain.errors import ConfigurationError
    from neuroscan_core.inference.bundle import find_bundles, load_bundle

    if Path(text).is_dir():
        return load_bundle(Path(text))
    installed = find_bundles()
    if text not in installed:
        raise ConfigurationError(
            f"There is no bundle {text}.", remedy=f"Give a folder, or one of {', '.join(sorted(installed))}."
        )
    return installed[text]


def _with_files(bundle: Bundle, config: SegmenterConfig) -> Bundle:
    from neuroscan_core.inference.tensorrt.engine import Libraries
    from training.engine.files import needs_fp16_file, with_fp16_files

    version = str(Libraries.load(with_graphs=False).trt.__version__)
    return with_fp16_files(bundle.folder) if needs_fp16_file(bundle, config, version) else bundle


def _table(found: Examination) -> Table:
    from rich.table import Table

    table = Table(
        title=f"{found.model} on {found.engine}: {found.agreement}; opened in {found.opening_s:.1f} s",
        caption="" if found.keeps_items_apart else "Items of a batch are not the same bits as alone.",
    )
    for heading in ("", "batch", "median ms", "95 % ms", "per second", "runs"):
        table.add_column(heading, justify="left" if not heading else "right")
    for row in found.latencies:
        figures = (f"{row.batch}", f"{row.median_ms:.2f}", f"{row.p95_ms:.2f}", f"{row.per_s:.1f}", f"{row.num_runs}")
        table.add_row(row.what, *figures)
    return table
