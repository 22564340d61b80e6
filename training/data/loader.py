"""Handing out batches in order, from any point on, one ahead of the network.

A batch is a function of (epoch, number): no state of workers, no state of
random generators. What a checkpoint has to keep is the position.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torch.utils.data import DataLoader, Dataset

from training.data.batches import Batch, BatchReader
from training.data.sampling import Sampler


class EpochBatches(Dataset[Batch]):
    """The batches of one epoch; picklable for worker processes."""

    def __init__(self, items: list[list[Any]], reader: BatchReader) -> None:
        self._items, self._reader = items, reader

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, number: int) -> Batch:
        return self._reader(self._items[number])


class BatchLoader:
    """Batches of epoch after epoch; Lightning takes it as a data loader.

    Parameters
    ----------
    sampler : Sampler
        Draws the items of an epoch.
    reader : BatchReader
        Reads them.
    num_workers : int
        0: one thread reads one batch ahead; above: that many processes.
    """

    def __init__(self, batches: Sampler, reader: BatchReader, num_workers: int = 0) -> None:
        self._batches, self._reader, self._num_workers = batches, reader, num_workers
        self._epoch = self._position = 0
        self._length = len(batches.epoch(0))
        # Lightning calls `set_epoch` of a loader's `sampler` at the start of each epoch.
        self.sampler = self

    def __len__(self) -> int:
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; the epoch that is under way is left as it is."""
        if epoch != self._epoch:
            self._epoch, self._position = epoch, 0

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and how many of its batches have been handed out."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on at a position; the next iteration starts there."""
        self._epoch, self._position = state["epoch"], state["position"]

    def batch(self, epoch: int, number: int) -> Batch:
        """Return one batch by its place, without moving."""
        return self._reader(self._batches.epoch(epoch)[number])

    def __iter__(self) -> Iterator[Batch]:
        items = self._batches.epoch(self._epoch)
        # Random draws differ in number by a few; Lightning counts on one length.
        items = (items * (1 + self._length // len(items)))[: self._length]
        if self._position >= len(items):
            self._position = 0
        remaining = EpochBatches(items[self._position :], self._reader)
        for batch in self._in_processes(remaining) if self._num_workers else self._in_thread(remaining):
            self._position += 1
            yield batch

    def _in_processes(self, remaining: EpochBatches) -> Iterator[Batch]:
        yield from DataLoader(remaining, batch_size=None, num_workers=self._num_workers, prefetch_factor=2)

    @staticmethod
    def _in_thread(remaining: EpochBatches) -> Iterator[Batch]:
        with ThreadPoolExecutor(1, thread_name_prefix="batch-reader") as pool:
            ahead = pool.submit(remaining.__getitem__, 0) if len(remaining) else None
            for number in range(len(remaining)):
                assert ahead is not None
                batch = ahead.result()
                ahead = pool.submit(remaining.__getitem__, number + 1) if number + 1 < len(remaining) else None
                yield batch
