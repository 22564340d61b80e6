"""A training process of the tests: `python worker.py KIND FOLDER [key=value ...]`; killed and started again by them."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import torch

from tests.training.fit.caches import tiny_cache, tiny_config
from training.fit import run
from training.fit.callbacks import EndOfRun
from training.fit.checkpoint import save_checkpoint


class KeepWeights(EndOfRun):
    """Writes what each process has at the end, and which batches it saw."""

    def __init__(self, folder: Path, stop) -> None:
        super().__init__(stop)
        self.folder, self.seen = folder, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self.seen.append(batch["image"].double().sum())
        print(f"step {pl_module.position.step}", flush=True)

    def on_train_end(self, trainer, pl_module):
        state = {"weights": pl_module.network.state_dict(), "seen": torch.stack(self.seen)}
        save_checkpoint(state, self.folder / f"rank{trainer.global_rank}.pt")


def main() -> None:
    kind, folder, changes = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    run.EndOfRun = lambda stop: KeepWeights(folder, stop)
    cache, split = tiny_cache(kind)
    run.run_fit(tiny_config(kind, *changes), cache, split, folder)


if __name__ == "__main__":
    main()
