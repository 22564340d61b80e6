"""`deploy`: a self-contained folder that runs a model on a Jetson with three commands."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write a folder that runs a model on a Jetson"
EPILOG = """\
examples:
  python -m training deploy --bundle neuroscan_core/models/mobilenetv2-unet-flair --out deploy/mobilenet
  python -m training deploy --bundle models/unet-brats --opset13 models/unet-brats-trt8 --out deploy/unet
then, on the device:
  python3 convert.py && python3 verify.py && python3 run.py
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EPILOG
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new folder, for the device")
    parser.add_argument("--opset13", type=Path, metavar="BUNDLE", help="the same network with opset 13, for TensorRT 8")


def run(arguments: argparse.Namespace) -> int:
    """Write the folder and show what is in it."""
    from rich.console import Console
    from rich.table import Table

    from neuroscan_core.inference.bundle import load_bundle
    from training.deploy.folder import write_folder

    old = load_bundle(arguments.opset13) if arguments.opset13 is not None else None
    bundle = load_bundle(arguments.bundle)
    folder = write_folder(bundle, arguments.out, old)
    table = Table("file", "KiB", title=f"{bundle.card.name} {bundle.card.version} in {folder}")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        table.add_row(str(path.relative_to(folder)), f"{path.stat().st_size / 1024:.0f}")
    Console().print(table)
    return 0
