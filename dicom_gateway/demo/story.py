"""The demonstration from beginning to end; everything that is not as it should be raises."""

from __future__ import annotations

import shutil
import threading
import time
import urllib.error
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dicom_gateway.demo.processes import EmbeddedPacs, NodeProcess, OrthancPacs, Pacs, free_port, running_node
from dicom_gateway.demo.readback import FrameMasks, dice, montage, read_seg
from dicom_gateway.phantom_series import write_phantom_series
from dicom_gateway.send import SendReport, find_objects, send_folder
from neuroscan_core.domain.errors import ConfigurationError, NeuroScanError
from neuroscan_core.phantom import HeadPhantom, Weighting, head_phantom
from neuroscan_core.viewer.picture import encode_png

MARKER = ".neuroscan-demo"
RESULT_TIMEOUT_S = 60.0
POLL_S = 0.2
RESULT_STATES = frozenset({"delivered", "committed"})
ENDED = RESULT_STATES | {"rejected", "failed", "dead-letter", "ignored"}
# Below this overlap with the phantom's tumour, the node found something else.
MIN_DICE = 0.5


@dataclass(frozen=True)
class DemoOptions:
    """What to show.

    Parameters
    ----------
    dicom : Path or None
        Folder to send; None: a generated phantom.
    pacs : str
        ``embedded`` or ``orthanc``.
    num_slices : int
        Of the phantom.
    images_per_s : float
        Pace of the sender.
    output : Path
        Folder that is made, and emptied if an earlier demonstration made it.
    hold : bool
        Keep the node running at the end until interrupted.
    """

    dicom: Path | None = None
    pacs: str = "embedded"
    num_slices: int = 155
    images_per_s: float = 25.0
    output: Path = Path("build/demo")
    hold: bool = False


@dataclass(frozen=True)
class _Source:
    """What is sent; `phantom` is known where it was generated."""

    folder: Path
    series_uids: tuple[str, ...]
    num_objects: int
    phantom: HeadPhantom | None


def run_demo(options: DemoOptions, console: Console) -> None:
    """Run the demonstration.

    Raises
    ------
    NeuroScanError
        Something is not as it should be; says what.
    """
    _prepare_folder(options.output)
    console.print("[bold]NeuroScan demonstration[/] - research use only, not a medical device")
    source = _make_source(options, console)
    node_port = free_port(11112)
    with _open_pacs(options, node_port) as pacs:
        console.print("Starting the node ...")
        with running_node(options.output / "node", node_port, pacs.destination) as node:
            console.print(f"Status page: [link]{node.page_url}/[/]")
            report = _send(options, source, node, console)
            entries = _await_results(source, node)
            _conclude(options, source, entries, report, pacs, console)
            if options.hold:
                console.print("The node keeps running; Ctrl-C ends it.")
                _wait_for_interrupt()


def _prepare_folder(folder: Path) -> None:
    if folder.exists():
        if not (folder / MARKER).exists() and any(folder.iterdir()):
            raise ConfigurationError(
                f"{folder} is not empty and was not made by a demonstration.", remedy="Choose another --output."
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()


def _make_source(options: DemoOptions, console: Console) -> _Source:
    if options.dicom is not None:
        objects, _ = find_objects(options.dicom)
        headers = (dcmread(item.path, specific_tags=["SeriesInstanceUID"]) for item in objects)
        uids = tuple(dict.fromkeys(str(ds.SeriesInstanceUID) for ds in headers))
        return _Source(options.dicom, uids, len(objects), None)
    console.print(f"Making a phantom: a head of {options.num_slices} FLAIR slices with a tumour of known size ...")
    phantom = head_phantom(num_slices=options.num_slices)
    folder = options.output / "phantom"
    folder.mkdir()
    paths = write_phantom_series(folder, phantom, Weighting.FLAIR)
    uid = str(dcmread(paths[0], specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID)
    return _Source(folder, (uid,), len(paths), phantom)


def _open_pacs(options: DemoOptions, node_port: int) -> AbstractContextManager[Pacs]:
    folder = options.output / "archive"
    if options.pacs == "embedded":
        return EmbeddedPacs(folder, node_port)
    if options.pacs == "orthanc":
        return OrthancPacs(folder, node_port)
    raise ConfigurationError(f"There is no archive called {options.pacs}.", remedy="Use embedded or orthanc.")


def _send(options: DemoOptions, source: _Source, node: NodeProcess, console: Console) -> SendReport:
    """Send in a thread; show what the status page sees meanwhile."""
    stop, outcome = threading.Event(), _Outcome()

    def work() -> None:
        try:
            outcome.report = send_folder(
                source.folder, "127.0.0.1", node.port, ae_title="NEUROSCAN", calling_ae_title="SCANNER",
                images_per_s=options.images_per_s, stop=stop, progress=outcome.advance,
            )  # fmt: skip
        except NeuroScanError as exc:
            outcome.error = exc

    thread = threading.Thread(target=work, name="demo-scanner", daemon=True)
    columns = (TextColumn("{task.description:>12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bars = [progress.add_task(name, total=source.num_objects) for name in ("sent", "slices in", "masks out")]
        thread.start()
        try:
            while thread.is_alive():
                thread.join(POLL_S)
                _show(progress, bars, outcome.num_sent, source, node)
            _show_rest(progress, bars, outcome.num_sent, source, node)
        finally:
            stop.set()
            thread.join()
    if outcome.error is not None:
        raise outcome.error
    assert outcome.report is not None
    if outcome.report.failures:
        path, why = outcome.report.failures[0]
        raise NeuroScanError(
            f"The node did not take {len(outcome.report.failures)} of {source.num_objects} objects; {path.name}: {why}"
        )
    return outcome.report


class _Outcome:
    """What the sending thread leaves behind."""

    def __init__(self) -> None:
        self.report: SendReport | None = None
        self.error: NeuroScanError | None = None
        self.num_sent = 0

    def advance(self, progress: Any) -> None:  # Any: only its count is used
        self.num_sent = int(progress.num_done)


def _show(progress: Progress, bars: list[TaskID], num_sent: int, source: _Source, node: NodeProcess) -> int:
    node.check()
    try:
        seen = [entry for uid, entry in node.series().items() if uid in source.series_uids]
    except (urllib.error.URLError, OSError):
        seen = []  # the page may be restarting; the numbers come back with it
    slices, masks = sum(entry["num_slices"] for entry in seen), sum(entry["num_masks"] for entry in seen)
    for bar, count in zip(bars, (num_sent, slices, masks), strict=True):
        progress.update(bar, completed=max(count, progress.tasks[bar].completed))
    return len([entry for entry in seen if _has_ended(entry)])


def _has_ended(entry: dict[str, Any]) -> bool:
    """Whether nothing more comes; the last masks may reach the page after the result has reached the archive."""
    is_whole = entry["state"] not in RESULT_STATES or entry["num_masks"] >= entry["num_slices"]
    return entry["state"] in ENDED and is_whole


def _show_rest(progress: Progress, bars: list[TaskID], num_sent: int, source: _Source, node: NodeProcess) -> None:
    """Go on showing until every series has come to its end."""
    deadline_s = time.monotonic() + RESULT_TIMEOUT_S
    while _show(progress, bars, num_sent, source, node) < len(source.series_uids) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)


def _await_results(source: _Source, node: NodeProcess) -> list[dict[str, Any]]:
    found = node.series()
    entries = [found[uid] for uid in source.series_uids if uid in found]
    waiting = [entry for entry in entries if entry["state"] not in ENDED]
    if len(entries) < len(source.series_uids) or waiting:
        states = ", ".join(entry["state"] for entry in entries) or "unknown to the node"
        raise NeuroScanError(
            f"No result after {RESULT_TIMEOUT_S:.0f} s; the series is {states}.\n{node.log_tail()}",
            remedy=f"See {node.log_path}.",
        )
    return entries


def _conclude(
    options: DemoOptions,
    source: _Source,
    entries: list[dict[str, Any]],
    report: SendReport,
    pacs: Pacs,
    console: Console,
) -> None:
    console.print(f"\nSent {report.num_sent} images in {report.elapsed_s:.1f} s, each acknowledged.")
    num_results = 0
    for entry in entries:
        console.print(f"\n[bold]{entry['description'] or entry['series']}[/]: {entry['state']}")
        if entry["state"] not in RESULT_STATES:
            console.print(f"  {entry['reason']} {entry['remedy']}".rstrip())
            continue
        num_results += 1
        _show_series(options, source, entry, pacs, console)
    if num_results == 0:
        raise NeuroScanError("No series was segmented; the reasons stand above.")


def _show_series(options: DemoOptions, source: _Source, entry: dict[str, Any], pacs: Pacs, console: Console) -> None:
    if entry["num_masks"] != entry["num_slices"]:
        raise NeuroScanError(f"{entry['num_slices']} slices came in, but {entry['num_masks']} masks were seen.")
    console.print(f"  slices in {entry['num_slices']}, masks out {entry['num_masks']}, model {entry['model']}")
    console.print(f"  slice to mask: median {entry['median_latency_ms']:.0f} ms")
    for delivery in entry["deliveries"]:
        kept = "stored and committed" if delivery["is_committed"] else "stored"
        console.print(
            f"  {delivery['modality']} {kept} by {delivery['destination']}: last image -> acknowledged "
            f"[bold]{1000 * delivery['delay_s']:.0f} ms[/]"
        )
    segs = [delivery for delivery in entry["deliveries"] if delivery["modality"] == "SEG"]
    if not segs:
        if source.phantom is not None:
            raise NeuroScanError("The node found no tumour in the phantom, although there is one.")
        console.print("  no tumour found; the report says so")
        return
    _show_seg(options, source, pacs.fetch(segs[0]["sop_instance_uid"], options.output), console)


def _show_seg(options: DemoOptions, source: _Source, path: Path, console: Console) -> None:
    seg = read_seg(path)
    paths = [item.path for item in find_objects(source.folder)[0]]
    truth = _truth(paths, source.phantom) if source.phantom is not None else None
    picture_path = options.output / "overlay.png"
    picture_path.write_bytes(encode_png(montage(paths, seg.masks, truth)))
    console.print(f"  tumour volume [bold]{seg.volume_ml:.1f} ml[/] in {seg.num_frames} frames")
    if truth is not None and source.phantom is not None:
        overlap = dice(seg.masks, truth)
        console.print(f"  known volume {source.phantom.tumour_ml:.1f} ml; overlap (Dice) [bold]{overlap:.3f}[/]")
        if overlap < MIN_DICE:
            raise NeuroScanError(f"Overlap with the phantom's tumour: {overlap:.3f}; at least {MIN_DICE} is expected.")
    console.print(f"  SEG      {path}\n  picture  {picture_path}", soft_wrap=True)


def _truth(paths: list[Path], phantom: HeadPhantom) -> FrameMasks:
    tumour_kji = phantom.tumour_kji
    uids = [str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID) for path in paths]
    return {(uid, 1): mask_ji for uid, mask_ji in zip(uids, tumour_kji, strict=True)}


def _wait_for_interrupt() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return
