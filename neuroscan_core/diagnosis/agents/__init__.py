"""The agents of the chain, one per file: reader, triage, segmenters, measurer, critic, reporter."""

from neuroscan_core.diagnosis.agents.critic import Critic
from neuroscan_core.diagnosis.agents.measurer import Measurer
from neuroscan_core.diagnosis.agents.reader import ReaderAgent
from neuroscan_core.diagnosis.agents.reporter import Reporter
from neuroscan_core.diagnosis.agents.segmenters import Segmenters
from neuroscan_core.diagnosis.agents.triage import TriageAgent

__all__ = ["Critic", "Measurer", "ReaderAgent", "Reporter", "Segmenters", "TriageAgent"]
