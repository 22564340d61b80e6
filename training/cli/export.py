"""`python -m training export`: the best network of a run becomes a bundle for the node."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.cli.common import add_data_arguments, use_threads

if TYPE_CHECKING:
    from rich.table import Table

HELP = "write a model bundle from a run"
EPILOG = """\
examples:
  python -m training export --run runs/mobilenet --bundle models/mobilenetv2-unet-flair
  python -m training export --run runs/mobilenet --bundle models/mobilenetv2-unet-flair \\
      --version 1.1.0 --metrics eval/test.json --postprocessing eval/postprocessing.json
  python -m training export --run runs/classifier --bundle models/tumour-classifier --torchscript
  python -m training export --run runs/unet --bundle models/unet-brats-trt8 --opset 13
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
    parser.add_argument("--postprocessing", type=Path, help="postprocessing.json written by `test --choose`")
    parser.add_argument("--opset", type=int, choices=(13, 20), default=20, help="13: for TensorRT 8.2")
    parser.add_argument("--torchscript", action="store_true", help="also write TorchScript (classifiers)")
    add_data_arguments(parser, required=False, threads=1)


def run(arguments: argparse.Namespace) -> int:
    """Write the bundle and show what is in it."""
    from rich.console import Console

    from training.bundle import Extras, write_bundle

    use_threads(arguments.threads)
    console = Console()
    extras = Extras(arguments.name, arguments.opset, arguments.torchscript)
    with console.status("exporting and comparing"):
        card = write_bundle(
            arguments.run, arguments.bundle, arguments.version, arguments.postprocessing, arguments.metrics, extras
        )
    console.print(_summary(arguments.bundle, card))
    return 0


def _summary(folder: Path, card: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title=f"{card['name']} {card['version']} in {folder}", show_header=False)
    rows = {
        "kind": card["kind"],
        "parameters": f"{card['onnx']['parameters']:,}",
        "opset": str(card["onnx"]["opset"]),
        "figures in the card": str(len(card["metrics"])) or "none",
    }
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        rows[path.name] = f"{path.stat().st_size / 2**20:.2f} MiB"
    for name, value in rows.items():
        table.add_row(name, value)
    return table
