"""The command `neuroscan`: one module per group of commands. They parse, compose and run; the work is done elsewhere.

Nothing but typer is imported until a command runs, so that help appears at once. This is the only place in the core
that knows the gateway: it composes the two.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Entry point of the console script."""
    from neuroscan_core.cli.app import run

    run()
