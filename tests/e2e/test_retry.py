"""What a person does on the page about a series that ended badly, on real processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage
from pynetdicom import AE, StoragePresentationContexts, evt

from tests.e2e.conftest import PhantomSeries, storescu
from tests.e2e.node import RunningArchive, RunningNode, free_port, wait_for
from tests.e2e.test_main_job import of_modality


@contextmanager
def browser(node: RunningNode) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{node.viewer_port}", timeout=30) as client:
        client.headers["x-csrf-token"] = client.get("/api/session").json()["csrf"]
        yield client


def entry_of(client: httpx.Client, series: PhantomSeries) -> dict[str, Any]:
    return next((entry for entry in client.get("/api/series").json() if entry["series"] == series.series_uid), {})


def shown(client: httpx.Client, series: PhantomSeries, **expected: Any) -> dict[str, Any]:
    """Wait until the list shows this of a series; its entry."""

    def found() -> dict[str, Any]:
        entry = entry_of(client, series)
        return entry if entry and all(entry[key] == value for key, value in expected.items()) else {}

    return wait_for(found, f"the list to show {expected}")


def test_a_rejected_series_is_judged_again_by_the_configuration_of_today(
    node: RunningNode, archive: RunningArchive, phantom_series: Callable[[str], PhantomSeries]
) -> None:
    series = phantom_series("again")
    config = yaml.safe_load(node.config_path.read_text())
    strict = {**config, "series": {**config["series"], "min_slices": len(series.paths) + 1}}
    node.config_path.write_text(yaml.safe_dump(strict))
    node.start()
    storescu(node.port, series.paths)
    with browser(node) as client:
        entry = shown(client, series, state="rejected", can_retry=True, rule="every MR")
        entry = wait_for(lambda: (one := entry_of(client, series))["remedy"] and one, "what to do")
        assert "24 slices" in entry["reason"] and "series.min_slices" in entry["remedy"]
        answer = client.post(f"/api/cases/{entry['case']}/retry")
        assert answer.status_code == 200 and answer.json() == {"is_judged_again": True, "num_deliveries": 0}
        wait_for(lambda: count_of(node, series, "SeriesRejected") == 2, "the second verdict")
        assert node.series(series.series_uid).state.value == "rejected"  # type: ignore[union-attr]
    node.stop()
    node.config_path.write_text(yaml.safe_dump(config))
    node.start()
    with browser(node) as client:
        entry = shown(client, series, state="rejected", can_retry=True)
        assert client.post(f"/api/cases/{entry['case']}/retry").status_code == 200
        node.wait_for_state(series.series_uid, "delivered")
        entry = shown(client, series, state="delivered", can_retry=False, reason="", num_slices=len(series.paths))
        assert {one["state"] for one in entry["deliveries"]} == {"delivered"}
        assert client.post(f"/api/cases/{entry['case']}/retry").status_code == 409, "nothing is left to be tried again"
    assert (len(of_modality(archive, "SEG")), len(of_modality(archive, "SR"))) == (1, 1)
    actions = [json.loads(line) for line in (node.config.state_dir / "viewer" / "audit.log").read_text().splitlines()]
    assert [(one["action"], one["status"]) for one in actions if one["action"] == "retry"] == [
        ("retry", 200), ("retry", 200), ("retry", 409),
    ]  # fmt: skip


@contextmanager
def refusing_archive(port: int) -> Iterator[None]:
    """An archive that has no room."""
    ae = AE("ARCHIVE")
    ae.supported_contexts = StoragePresentationContexts
    for uid in (SegmentationStorage, Comprehensive3DSRStorage):
        ae.add_supported_context(uid)
    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0xA700)])
    try:
        yield
    finally:
        ae.shutdown()  # its associations, too


def test_what_an_archive_refused_too_often_is_delivered_once_a_person_asks_for_it(
    tmp_path: Path, phantom_series: Callable[[str], PhantomSeries]
) -> None:
    series, port = phantom_series("dead"), free_port()
    destination = {"name": "archive", "host": "127.0.0.1", "port": port, "ae_title": "ARCHIVE", "backoff_s": 0.2}
    node = RunningNode(tmp_path, [{**destination, "max_attempts": 2}])
    try:
        with refusing_archive(port):
            node.start()
            storescu(node.port, series.paths)
            node.wait_for_state(series.series_uid, "dead-letter")
        with browser(node) as client:
            shown(client, series, state="dead-letter", can_retry=True)
            entry = wait_for(
                lambda: (
                    (one := entry_of(client, series))
                    and len(one["deliveries"]) == 2
                    and all(delivery["state"] == "dead-letter" for delivery in one["deliveries"])
                    and one
                ),
                "the deliveries",
            )
            assert all(one["error"] and one["destination"] == "archive" for one in entry["deliveries"])
            assert "doctor" in entry["remedy"]
            archive = RunningArchive(tmp_path / "archive", port=port)
            try:
                answer = client.post(f"/api/cases/{entry['case']}/retry")
                assert answer.json() == {"is_judged_again": False, "num_deliveries": 2}
                node.wait_for_state(series.series_uid, "delivered")
                shown(client, series, state="delivered", can_retry=False)
                assert len(of_modality(archive, "SEG")) == 1
            finally:
                archive.stop()
    finally:
        node.close()


def count_of(node: RunningNode, series: PhantomSeries, kind: str) -> int:
    with node.journal() as journal:
        return sum(event.kind == kind for event in journal.events(series.series_uid))
