"""Sharing out batches, and starting where the run stands."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from neuroscan_core.domain.errors import ConfigurationError
from tests.training.fit.caches import tiny_cache
from training.data.loader import BatchLoader
from training.data.module import NeuroScanData
from training.fit.loader import PositionedLoader, RunData, ShardedSampler
from training.fit.schedule import Position


class Numbers:
    """Seven batches an epoch, named by epoch and number."""

    def epoch(self, number):
        return [[(number, batch)] for batch in range(7)]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_share_an_epoch_without_overlap_and_evenly(world_size):
    shards = [ShardedSampler(Numbers(), rank, world_size).epoch(4) for rank in range(world_size)]
    assert {len(shard) for shard in shards} == {7 // world_size}
    batches = [item for shard in shards for batch in shard for item in batch]
    assert len(set(batches)) == len(batches) == 7 // world_size * world_size


def positioned(position):
    module = SimpleNamespace(position=position)
    sampler = ShardedSampler(Numbers(), 0, 1)
    return PositionedLoader(sampler, BatchLoader(sampler, lambda items: items[0]), module)


def test_an_iteration_gives_the_rest_of_the_epoch():
    loader = positioned(Position(epoch=2, batch=5))
    assert len(loader) == 2
    assert list(loader) == [(2, 5), (2, 6)]


def test_the_length_follows_the_position():
    position = Position()
    loader = positioned(position)
    assert len(loader) == loader.num_batches() == 7
    position.epoch, position.batch = 1, 3
    assert (len(loader), loader.num_batches()) == (4, 7)


def test_the_samplers_of_all_kinds_can_be_shared_out():
    for kind in ("slice25d", "multimodal2d", "classifier"):
        cache, split = tiny_cache(kind)
        sampler, _ = NeuroScanData(kind, cache, split, batch_size=2)._parts(cache.select(split.parts["train"]))
        shards = [ShardedSampler(sampler, rank, 2).epoch(0) for rank in (0, 1)]
        assert len(shards[0]) == len(shards[1]) > 0


def test_more_processes_than_batches_are_refused():
    cache, split = tiny_cache("classifier")
    data = RunData("classifier", cache, split, batch_size=8)  # two batches of 16 pictures
    data.trainer = SimpleNamespace(global_rank=0, world_size=3)
    with pytest.raises(ConfigurationError, match="fewer batches than the 3 processes"):
        data.train_dataloader()
