"""`python -m training COMMAND`: the table of commands. One module each; what a command does is done elsewhere.

A module offers `HELP`, `add_arguments(parser)` and `run(arguments) -> int`, and
imports nothing heavy until it runs, so that help appears at once.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from neuroscan_core.domain.errors import NeuroScanError

COMMANDS = ("prepare", "fit", "test", "export", "engine", "compare", "audit", "deploy", "triton")
DESCRIPTION = """\
From data to a network in the node, one command each:

  prepare   cache the data, check the split         engine    build and verify a TensorRT engine
  fit       train a recipe                          compare   put networks side by side
  test      evaluate per patient                    audit     plots, internal and external test
  export    write a bundle for the node             deploy    a folder that runs on a Jetson
                                                    triton    a model repository, a server
"""
EPILOG = """\
A first run, start to end:

  python -m training prepare --data DATA --cache CACHE
  python -m training fit --list
  python -m training fit experiment=mobilenetv2-unet-flair-cpu --data DATA --cache CACHE --run RUN
  python -m training test --run RUN --data DATA --cache CACHE --part val --choose --out RUN/eval
  python -m training export --run RUN --bundle BUNDLE --postprocessing RUN/eval/postprocessing.json
  python -m training test --bundle BUNDLE --data DATA --cache CACHE --part test --out RUN/eval
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit status."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and not _take_overrides(arguments, rest):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    _log_to_console()
    try:
        status: int = arguments.run_command(arguments)
    except NeuroScanError as exc:
        print(f"{arguments.command}: {exc.message}", file=sys.stderr)
        if exc.remedy:
            print(f"  {exc.remedy}", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"{arguments.command}: {exc.strerror or exc}: {exc.filename or ''}", file=sys.stderr)
        print("  Check the path, its permissions and the room on the disk.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{arguments.command}: interrupted", file=sys.stderr)
        return 130
    return status


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name in COMMANDS:
        module = importlib.import_module(f"training.cli.{name}")
        command = commands.add_parser(
            name, help=module.HELP, description=module.HELP, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(command)
        command.set_defaults(run_command=module.run)
    return parser


def _take_overrides(arguments: argparse.Namespace, rest: Sequence[str]) -> bool:
    # argparse takes one run of positional arguments; `key=value` may stand on both sides of the options.
    overrides = getattr(arguments, "overrides", None)
    if overrides is None or any(text.startswith("-") or "=" not in text for text in rest):
        return False
    arguments.overrides = [*overrides, *rest]
    return True


def _log_to_console() -> None:
    from rich.console import Console
    from rich.logging import RichHandler

    console = Console()
    handler = RichHandler(console=console, show_path=False) if console.is_terminal else logging.StreamHandler()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", handlers=[handler], force=True)
    logging.getLogger("training").setLevel(logging.INFO)
