"""Scoring during a run: averaged weights on the validation patients, shared out among processes."""

from __future__ import annotations

from collections.abc import Sequence

import lightning
import torch.distributed

from neuroscan_core.domain.model_card import ModelKind
from training.data.cache import ArrayCache, CachedCase
from training.fit.module import FitModule
from training.fit.stopping import StopRequest
from training.fit.validation import CaseScore, first_of_each_dataset, score_case, score_pictures, summarise
from training.inference import CaseOptions, Predictor, torch_predictor
from training.networks import build_network


class ValidationScorer:
    """Scores the weights of a module.

    Parameters
    ----------
    cases : sequence of CachedCase
        Of the validation part; none: nothing is scored.
    options : CaseOptions
        Spacing and patch, for volume3d.
    picture_size : int
        Rows and columns, for classifier.
    stop : StopRequest
        Breaks a validation off.
    """

    def __init__(
        self,
        cache: ArrayCache,
        cases: Sequence[CachedCase],
        options: CaseOptions,
        picture_size: int,
        stop: StopRequest,
    ) -> None:
        self._cache, self._cases = cache, list(cases)
        self._options, self._picture_size, self._stop = options, picture_size, stop

    def score(self, trainer: lightning.Trainer, module: FitModule) -> dict[str, float]:
        """Return the metrics and their mean "score"; empty without cases.

        Raises
        ------
        StopRequested
            The run is to end; several processes score to the end, none waits for another in vain.
        """
        settings = module.config.validation
        cases = first_of_each_dataset(self._cases, settings.max_cases)
        if not cases:
            return {}
        network = build_network(module.config.network.name, **module.config.network.options)
        # Running statistics of batch norm are each process's own: all score those of the first.
        network.load_state_dict(trainer.strategy.broadcast(module.averaged_weights()))
        network.to(module.device)
        predict = torch_predictor(network, "bf16" in module.config.trainer.precision, module.device)
        predict = self._stop.guard(predict) if trainer.world_size == 1 else predict
        mine = cases[trainer.global_rank :: trainer.world_size]
        scores = self._score_cases(predict, mine, module.config.model_kind, settings.batch_size)
        return summarise(_gathered(scores, trainer.world_size))

    def _score_cases(
        self, predict: Predictor, cases: Sequence[CachedCase], kind: ModelKind, batch_size: int
    ) -> list[CaseScore]:
        if kind is ModelKind.CLASSIFIER:
            return score_pictures(predict, self._cache, cases, self._picture_size, batch_size)
        return [score_case(predict, self._cache, case, kind, self._options, batch_size) for case in cases]


def _gathered(scores: list[CaseScore], world_size: int) -> list[CaseScore]:
    if world_size == 1:
        return scores
    parts: list[list[CaseScore]] = [[] for _ in range(world_size)]
    torch.distributed.all_gather_object(parts, scores)
    return [score for part in parts for score in part]
