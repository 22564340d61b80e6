"""How far a run has come, and what follows: learning rate and image size.

Length is given in steps (repeatable to the bit) or in minutes (fits a
machine that is shared); both end with the same shape of schedule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Cosine with warm-up, small crops first.

    Parameters
    ----------
    max_steps : int or None
        Length in steps.
    max_minutes : float or None
        Length in minutes of training time.
    warmup : float
        Fraction of the run with a rising learning rate.
    final_factor : float
        Learning rate at the end, relative to the peak.
    crop_size : int
        Rows and columns in the first part.
    crop_until : float
        Fraction of the run that sees crops.
    full_size : int
        Rows and columns afterwards.

    Raises
    ------
    ValueError
        Unless exactly one length is given.
    """

    max_steps: int | None = None
    max_minutes: float | None = None
    warmup: float = 0.03
    final_factor: float = 0.01
    crop_size: int = 192
    crop_until: float = 0.6
    full_size: int = 256

    def __post_init__(self) -> None:
        if (self.max_steps is None) == (self.max_minutes is None):
            raise ValueError("give the length either in steps or in minutes")

    def progress(self, step: int, elapsed_s: float) -> float:
        """Return the completed fraction, at most 1."""
        if self.max_steps is not None:
            return min(1.0, step / self.max_steps)
        assert self.max_minutes is not None
        return min(1.0, elapsed_s / (60.0 * self.max_minutes))

    def learning_rate_factor(self, progress: float) -> float:
        """Return the learning rate relative to its peak."""
        if progress < self.warmup:
            return max(0.01, progress / self.warmup)
        fraction = (progress - self.warmup) / (1.0 - self.warmup)
        cosine = 0.5 * (1.0 + math.cos(math.pi * fraction))
        return self.final_factor + (1.0 - self.final_factor) * cosine

    def image_size(self, progress: float) -> int:
        """Return rows and columns of the training images."""
        return self.crop_size if progress < self.crop_until else self.full_size
