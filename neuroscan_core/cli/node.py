"""Commands that are, start or look at the processes of a node."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuroscan_core.cli.console import ConfigFile, load, show_table
from neuroscan_core.process import PICTURES_WAIT, stop_on_signals

if TYPE_CHECKING:
    from neuroscan_core.config import NodeConfig

EXPLAINED_STATES = ("waiting", "rejected", "failed")
CrashAt = Annotated[str | None, typer.Option("--crash-at", hidden=True, metavar="POINT[:N]")]
Supervised = Annotated[bool, typer.Option("--supervised", hidden=True)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (up, gateway, segmenter, viewer, status, doctor):
        app.command()(command)


def is_supervised() -> bool:
    """Whether this process was started by a supervisor."""
    return "--supervised" in sys.argv


def up(config: ConfigFile = None, supervised: Supervised = False) -> None:
    """Run the whole node: gateway, segmenter and the application in the browser; restart what crashes."""
    from neuroscan_core.node import announce_ready, process_specs
    from neuroscan_core.supervise import Supervisor

    node = _begin(config, "supervisor")
    stopping = _stop_on_signals(supervised)
    threading.Thread(target=announce_ready, args=(node, stopping), name="announce-ready", daemon=True).start()
    raise typer.Exit(Supervisor(process_specs(node, config)).run(stopping))


def gateway(config: ConfigFile = None, crash_at: CrashAt = None, supervised: Supervised = False) -> None:
    """Run the gateway alone: receives images, keeps the journal, delivers results."""
    from dicom_gateway.gateway import Gateway
    from neuroscan_core.bus import open_bus
    from neuroscan_core.domain.events import GATEWAY
    from neuroscan_core.heap import settle

    node = _begin(config, GATEWAY, crash_at)
    stopping = _stop_on_signals(supervised)
    bus = open_bus(node, GATEWAY)
    try:
        with Gateway(node, bus):
            settle()
            stopping.wait()
    finally:
        bus.close()


def segmenter(config: ConfigFile = None, crash_at: CrashAt = None, supervised: Supervised = False) -> None:
    """Run the segmentation service alone."""
    from neuroscan_core.bus import open_bus
    from neuroscan_core.bus.feed import SeriesFeed
    from neuroscan_core.domain.events import SEGMENTER
    from neuroscan_core.inference.select import bundles_in_use
    from neuroscan_core.service import SegmentationService

    node = _begin(config, SEGMENTER, crash_at)
    stopping = _stop_on_signals(supervised)
    bus = open_bus(node, SEGMENTER)
    try:
        bundles = bundles_in_use(node)
        with SeriesFeed(bus) as feed, SegmentationService(bus, bundles, node.segmenter, feed=feed):
            stopping.wait()
    finally:
        bus.close()


def viewer(config: ConfigFile = None, crash_at: CrashAt = None, supervised: Supervised = False) -> None:
    """Run the application in the browser alone."""
    from neuroscan_core.bus import open_bus
    from neuroscan_core.bus.feed import MaskFeed
    from neuroscan_core.domain.events import VIEWER
    from neuroscan_core.inference.bundle import find_bundles
    from neuroscan_core.viewer.process import Viewer

    node = _begin(config, VIEWER, crash_at)
    os.nice(PICTURES_WAIT)
    stopping = _stop_on_signals(supervised)
    cards = {name: bundle.card for name, bundle in find_bundles(node.segmenter.models_dir).items()}
    options = ("-c", str(config)) if config else ()
    command = (sys.executable, "-m", "neuroscan_core.cli")
    bus = open_bus(node, VIEWER)
    try:
        with (
            MaskFeed(bus) as masks,
            Viewer(
                node.viewer,
                bus,
                masks,
                receiver=node.gateway,
                cards=cards,
                segment_command=(*command, "segment-case", *options),
                diagnose_command=(*command, "diagnose", *options),
            ),
        ):
            stopping.wait()
    finally:
        bus.close()


def status(config: ConfigFile = None) -> None:
    """Show whether the node is ready and what it is working on; the exit status is 1 if it is not ready."""
    from neuroscan_core.node import ask_node

    answer = ask_node(load(config))
    for problem in answer.problems:
        typer.echo(f"! {problem}")
    for warning in answer.warnings:
        typer.echo(f"  {warning}")
    if answer.is_ready:
        typer.echo("The node is ready.")
    rows = [
        (entry.series_instance_uid, entry.state, entry.num_slices, entry.model, entry.description, entry.reason)
        for entry in answer.series
    ]
    if rows:
        show_table("Series", ("Series", "State", "Slices", "Model", "Description", "Reason"), rows)
    for entry in answer.series:
        if entry.message and entry.state in EXPLAINED_STATES:
            typer.echo(f"{entry.description or entry.series_instance_uid}: {entry.message}")
    raise typer.Exit(0 if answer.is_ready else 1)


def doctor(config: ConfigFile = None) -> None:
    """Check configuration, disk, rights, ports, models, decoders and destinations; say what to do."""
    from dicom_gateway.checks import gateway_checks
    from neuroscan_core.doctor import core_checks, examine

    node = load(config)
    findings = examine([*core_checks(node), *gateway_checks(node)])
    for finding in findings:
        typer.echo(f"{finding.mark} {finding.subject}: {finding.message}")
        if finding.remedy:
            typer.echo(f"     What to do: {finding.remedy}")
    raise typer.Exit(1 if any(finding.is_failure for finding in findings) else 0)


def _begin(config: Path | None, process: str, crash_at: str | None = None) -> NodeConfig:
    from neuroscan_core import crashpoints
    from neuroscan_core.heap import limit_heap
    from neuroscan_core.log import configure_logging

    limit_heap()
    node = load(config)
    configure_logging(node.log, process=process)
    if crash_at:
        point, _, count = crash_at.partition(":")
        try:
            crashpoints.arm(point, after=int(count or 1))
        except ValueError as exc:
            raise typer.BadParameter(str(exc), param_hint="--crash-at") from exc
    return node


def _stop_on_signals(supervised: bool) -> threading.Event:
    """An event that SIGTERM, SIGINT and, under a supervisor, the supervisor's end set."""
    stopping = stop_on_signals()
    if supervised:
        threading.Thread(target=_watch_supervisor, args=(stopping,), name="watch-supervisor", daemon=True).start()
    return stopping


def _watch_supervisor(stopping: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    stopping.set()
