"""`triton`: write a model repository for a Triton Inference Server, and run one on this machine."""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
from pathlib import Path

HELP = "write a Triton model repository, or serve one here"
EPILOG = """\
examples:
  python -m training triton --bundles neuroscan_core/models/* --out REPO
  python -m training triton --bundles BUNDLE --out REPO --platform tensorrt   # then run REPO/build_plans.sh
  python -m training triton --out REPO --serve                                # node: segmenter.engine: triton
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EPILOG
    parser.add_argument("--bundles", type=Path, nargs="+", default=[], metavar="BUNDLE", help="folders of bundles")
    parser.add_argument("--out", type=Path, required=True, metavar="REPO", help="folder of the repository")
    parser.add_argument("--platform", choices=("onnxruntime", "tensorrt"), default="onnxruntime")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="where instances run")
    parser.add_argument("--instances", type=int, default=1, metavar="N", help="copies of each model at once")
    parser.add_argument(
        "--max-batch", type=int, default=16, metavar="N", help="1: results never depend on other requests"
    )
    parser.add_argument(
        "--queue-delay-us", type=int, default=1000, metavar="US", help="longest wait for a batch to fill"
    )
    parser.add_argument("--serve", action="store_true", help="serve the repository until Ctrl-C")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; a server has no passwords")
    parser.add_argument("--http-port", type=int, default=8000)
    parser.add_argument("--grpc-port", type=int, default=8001)
    parser.add_argument(
        "--tls",
        type=Path,
        nargs=3,
        metavar=("CERTIFICATE", "KEY", "CA"),
        help="gRPC over TLS, for clients with a certificate that CA signed (PEM)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write, serve, or both."""
    from rich.console import Console
    from rich.table import Table

    from neuroscan_core.inference.bundle import load_bundle
    from training.triton.repository import RepositoryError, RepositoryOptions, write_repository

    console = Console()
    if not arguments.bundles and not arguments.serve:
        raise RepositoryError(
            "There is nothing to do.", remedy="Give --bundles to write them, --serve to serve, or both."
        )
    if arguments.bundles:
        options = RepositoryOptions(
            arguments.platform, arguments.device, arguments.instances, arguments.max_batch, arguments.queue_delay_us
        )
        bundles = [load_bundle(folder) for folder in arguments.bundles]
        folders = write_repository(bundles, arguments.out, options)
        table = Table("model", "kind", "input", "output", "batch", "folder", title="model repository")
        for bundle, folder in zip(bundles, folders, strict=True):
            card = bundle.card
            shapes = ("x".join(map(str, shape)) for shape in (card.input_shape, card.output_shape))
            table.add_row(card.name, card.kind.value, *shapes, str(options.batch_limit(card)), str(folder))
        console.print(table)
        if arguments.platform == "tensorrt":
            console.print(f"Run {arguments.out}/build_plans.sh where the server's GPU and TensorRT are.")
    return _serve(arguments, console) if arguments.serve else 0


def _serve(arguments: argparse.Namespace, console) -> int:  # type: ignore[no-untyped-def]  # rich is imported late
    from training.triton.server import Certificates, Listening, TritonServer

    # Asked to end by a supervisor, or by Ctrl-C where a script started it deaf to that, it must take the server along.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    tls = Certificates(*arguments.tls) if arguments.tls else None
    listening = Listening(arguments.host, arguments.http_port, arguments.grpc_port, tls=tls)
    log = Path(tempfile.mkstemp(prefix="triton-", suffix=".log")[1])
    try:
        with TritonServer(arguments.out.resolve(), listening, log, environment=os.environ) as server:
            console.print(f"Triton serves {arguments.out}: HTTP {arguments.host}:{arguments.http_port}, "
                          f"gRPC {arguments.host}:{arguments.grpc_port}; log {log}. Ctrl-C ends it.")  # fmt: skip
            return server.wait()
    except KeyboardInterrupt:
        return 0
