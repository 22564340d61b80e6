"""Training batches from where the run stands, shared out among the processes of a run.

What a batch holds, and which items an epoch draws, is in `training.data`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neuroscan_core.domain.errors import ConfigurationError
from training.data.batches import Batch
from training.data.loader import BatchLoader
from training.data.module import NeuroScanData
from training.data.sampling import Sampler
from training.fit.module import FitModule


class ShardedSampler:
    """Every `world_size`-th batch of an epoch, from batch `rank` on.

    All processes get the same number of batches; the remainder is dropped.
    """

    def __init__(self, sampler: Sampler, rank: int, world_size: int) -> None:
        self._sampler, self._rank, self._world_size = sampler, rank, world_size

    def epoch(self, number: int) -> list[list[Any]]:
        """Return the batches of an epoch that are this process's."""
        batches = self._sampler.epoch(number)
        usable = len(batches) // self._world_size * self._world_size
        return batches[:usable][self._rank :: self._world_size]


class PositionedLoader:
    """The rest of the epoch in which a run stands, at each iteration.

    Lightning counts epochs from the start of the process; the position of a
    resumed run is the module's.
    """

    def __init__(self, sampler: ShardedSampler, batches: BatchLoader, module: FitModule) -> None:
        self._sampler, self._batches, self._module = sampler, batches, module
        self._counted: tuple[int, int] | None = None

    def num_batches(self) -> int:
        """Return how many batches the present epoch has in all."""
        epoch = self._module.position.epoch
        if self._counted is None or self._counted[0] != epoch:
            self._counted = (epoch, min(len(self._sampler.epoch(epoch)), len(self._batches)))
        return self._counted[1]

    def __len__(self) -> int:
        return self.num_batches() - self._module.position.batch

    def __iter__(self) -> Iterator[Batch]:
        position = self._module.position
        self._batches.load_state_dict({"epoch": position.epoch, "position": position.batch})
        yield from self._batches


class RunData(NeuroScanData):
    """The data of a run whose position is a module's."""

    module: FitModule

    def train_dataloader(self) -> PositionedLoader:  # type: ignore[override]  # duck-typed by Lightning as well
        """Return the batches of this process from the module's position on.

        Raises
        ------
        ConfigurationError
            There is not a batch for each process.
        """
        assert self.trainer is not None
        sampler, reader = self._parts(self.train_cases)
        sharded = ShardedSampler(sampler, self.trainer.global_rank, self.trainer.world_size)
        if not sharded.epoch(0):
            raise ConfigurationError(
                f"An epoch has fewer batches than the {self.trainer.world_size} processes that share them.",
                remedy="Lower data.batch_size or trainer.devices, or give data.options.epoch_length.",
            )
        return PositionedLoader(sharded, BatchLoader(sharded, reader, self.num_workers), self.module)
