"""`python -m training export`: the best network of a run becomes a bundle for the node."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroscan_core.domain.errors import ConfigurationError
from training.cli.common import add_data_arguments, open_view, use_threads

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

INT8_ENGINES = ("onnxruntime", "tensorrt")
HELP = "write a model bundle from a run"
EPILOG = """\
examples:
  python -m training export --run runs/mobilenet --bundle models/mobilenetv2-unet-flair
  python -m training export --run runs/mobilenet --bundle models/mobilenetv2-unet-flair \\
      --version 1.1.0 --metrics eval/test.json --postprocessing eval/postprocessing.json
  python -m training export --run runs/classifier --bundle models/tumour-classifier --torchscript
  python -m training export --run runs/unet --bundle models/unet-brats-trt8 --opset 13
  python -m training export --run runs/unet --bundle models/unet-brats --fp16 --int8 --data DATA --cache CACHE
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--run",
        "--weights",
        type=Path,
        required=True,
        dest="run",
        metavar="RUN",
        help="folder of a run, or its best.pt",
    )
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--name", default="", help="name of the bundle; default: after the network")
    parser.add_argument("--version", default="0.9.0", help="version of the bundle (default %(default)s)")
    parser.add_argument("--metrics", type=Path, help="test.json or val.json written by `test`, for the card")
    parser.add_argument(
        "--postprocessing",
        type=Path,
        help="postprocessing.json written by `test --choose` (without: 0.5, parts from 0.5 ml)",
    )
    parser.add_argument("--opset", type=int, choices=(13, 20), default=20, help="13: for TensorRT 8.2")
    parser.add_argument("--torchscript", action="store_true", help="also write TorchScript (classifiers)")
    parser.add_argument("--fp16", action="store_true", help="also write FP16 files for TensorRT 10.12 and later")
    parser.add_argument(
        "--int8",
        nargs="?",
        choices=INT8_ENGINES,
        const="onnxruntime",
        help="also write an INT8 file for this engine (default onnxruntime), calibrated on training slices, unless it "
        "costs 0.005 Dice on validation patients; needs --data and --cache",
    )
    parser.add_argument("--int8-method", choices=("minmax", "percentile", "entropy"), default="minmax")
    add_data_arguments(parser, required=False, threads=1)


def run(arguments: argparse.Namespace) -> int:
    """Write the bundle and show what is in it."""
    from rich.console import Console

    from training.bundle import Extras, write_bundle
    from training.bundle.variants import add_fp16

    if arguments.int8 and (arguments.data is None or arguments.cache is None):
        raise ConfigurationError("--int8 needs patients to calibrate on.", remedy="Give --data and --cache.")
    use_threads(arguments.threads)
    console = Console()
    extras = Extras(arguments.name, arguments.opset, arguments.torchscript, arguments.split or "")
    with console.status("exporting and comparing"):
        card = write_bundle(
            arguments.run, arguments.bundle, arguments.version, arguments.postprocessing, arguments.metrics, extras
        )
    if arguments.fp16:
        with console.status("converting to FP16"):
            add_fp16(arguments.bundle)
    if arguments.int8:
        _quantise(arguments, card, console)
    console.print(_summary(arguments.bundle, card))
    return 0


def _quantise(arguments: argparse.Namespace, card: dict[str, Any], console: Console) -> None:
    from training.bundle.variants import add_int8
    from training.data.module import VIEW_OF_KIND
    from training.export.int8 import Int8Settings

    split_name = arguments.split or card["training"]["split"]
    cache, split = open_view(VIEW_OF_KIND[card["kind"]], arguments.data, arguments.cache, split_name)
    settings = Int8Settings(arguments.int8, arguments.int8_method)
    with console.status("quantising; comparing on validation patients"):
        found = add_int8(arguments.bundle, cache, split, settings)
    console.print(
        f"INT8: Dice {found.dice:.4f}, FP32 {found.dice_fp32:.4f} on {found.num_patients} validation patients; one "
        f"thread of ONNX Runtime {found.ms:.1f} ms, FP32 {found.ms_fp32:.1f} ms ({found.speed_up:.2f} times faster)"
    )


def _summary(folder: Path, card: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title=f"{card['name']} {card['version']} in {folder}", show_header=False)
    rows = {
        "kind": card["kind"],
        "parameters": f"{card['onnx']['parameters']:,}",
        "opset": str(card["onnx"]["opset"]),
        "sets with figures": str(len(card["metrics"]) or "none"),
    }
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        rows[path.name] = f"{path.stat().st_size / 2**10:,.0f} KiB"
    for name, value in rows.items():
        table.add_row(name, value)
    return table
