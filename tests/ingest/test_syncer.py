"""Waiting for the disk in several threads."""

from __future__ import annotations

import errno
import threading

import pytest

from dicom_gateway.ingest.syncer import Syncer

PATIENCE_S = 20.0


def test_jobs_of_one_object_run_at_the_same_time() -> None:
    syncer = Syncer(2)
    meeting = threading.Barrier(2)
    syncer.submit([lambda: meeting.wait(PATIENCE_S) and None, lambda: meeting.wait(PATIENCE_S) and None]).wait()
    syncer.stop()


def test_waits_for_all_jobs_before_it_tells_of_the_one_that_failed() -> None:
    syncer = Syncer(2)
    done = threading.Event()

    def fails() -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        syncer.submit([fails, done.set]).wait()
    assert done.is_set()
    syncer.submit([done.clear]).wait()
    assert not done.is_set()
    syncer.stop()


def test_starts_no_more_threads_than_allowed_and_ends_them() -> None:
    syncer = Syncer(3)
    names: set[str] = set()
    pending = [syncer.submit([lambda: names.add(threading.current_thread().name)]) for _ in range(50)]
    for syncs in pending:
        syncs.wait()
    assert names <= {"ingest-sync-0", "ingest-sync-1", "ingest-sync-2"}
    syncer.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ingest-sync")]
