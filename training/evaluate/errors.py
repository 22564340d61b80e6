"""What an evaluation refuses to do.

NeuroScanError
└── EvaluationRefused       also a ValueError
    ├── ChoiceRefused       postprocessing was to be chosen on cases that are not there for choosing
    ├── NotExternal         cases that were to be external were seen in training, or may have been
    └── NothingToEvaluate   no case, or none of the right form
"""

from __future__ import annotations

from neuroscan_core.domain.errors import NeuroScanError


class EvaluationRefused(NeuroScanError, ValueError):
    """The figures would not mean what they say."""


class ChoiceRefused(EvaluationRefused):
    """Postprocessing was to be chosen on cases that are not there for choosing."""


class NotExternal(EvaluationRefused):
    """Cases that were to be external were seen in training, or may have been."""


class NothingToEvaluate(EvaluationRefused):
    """No case, or none of the right form."""
