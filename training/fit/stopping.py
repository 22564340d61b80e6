"""Ending a run on request: SIGTERM (`kill PID`) and SIGINT (Ctrl-C).

The first signal asks: the step under way is finished and the state saved, a
validation is broken off. The second ends the process at once. What is saved,
and when a run is complete, is in `callbacks`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import lightning
import torch

from training.inference import FloatArray, Predictor

SIGNALS: dict[signal.Signals, Any] = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
STANDARD_ERROR = 2


class StopRequested(Exception):
    """Raised within a validation, which takes too long to be waited for."""


class StopRequest:
    """Whether somebody has asked the run to end.

    Attributes
    ----------
    signum : int
        The signal; 0 while there was none.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._process = os.getpid()

    def __bool__(self) -> bool:
        return self.signum != 0

    def listen(self) -> None:
        """Take the signals; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                signal.signal(signum, self._receive)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals, and give them back afterwards."""
        before = {signum: signal.getsignal(signum) for signum in SIGNALS}
        self.listen()
        try:
            yield
        finally:
            if threading.current_thread() is threading.main_thread():
                for signum, handler in before.items():
                    signal.signal(signum, handler)

    def guard(self, predict: Predictor) -> Predictor:
        """Return a predictor that raises `StopRequested` once a signal has come."""

        def guarded(batch: FloatArray) -> FloatArray:
            if self:
                raise StopRequested
            return predict(batch)

        return guarded

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            self._receive_in_worker(signum)
            return
        self.signum = signum
        for known, ending in SIGNALS.items():
            signal.signal(known, ending)
        # Buffered streams must not be entered from a handler.
        name = signal.Signals(signum).name
        with suppress(OSError):
            os.write(STANDARD_ERROR, f"\n{name}: ending after this step; once more ends at once\n".encode())

    @staticmethod
    def _receive_in_worker(signum: int) -> None:
        # Processes that read batches inherit the handler: Ctrl-C reaches them too, but it is not theirs to end the run.
        if signum == signal.SIGTERM:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)


class StopOnSignal(lightning.Callback):
    """Hears signals while Lightning trains; all processes of a run follow the first one."""

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take the signals back: Lightning's own handler ends a run with status 0 and saves nothing."""
        if not self._stop:
            self._stop.listen()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Learn whether the first process is to end, so that none waits for another."""
        if trainer.world_size > 1:
            self._stop.signum = int(trainer.strategy.broadcast(torch.tensor(self._stop.signum)))
