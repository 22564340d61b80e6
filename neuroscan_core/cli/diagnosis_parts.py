"""The chain of agents put together: the core's parts with those of the gateway that know DICOM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path

from dicom_gateway.diagnosis import identity_of, read_dicom, write_objects
from neuroscan_core.config import NodeConfig, StudyConfig
from neuroscan_core.diagnosis import inputs
from neuroscan_core.diagnosis.agent import Agent
from neuroscan_core.diagnosis.agents import Critic, Measurer, ReaderAgent, Reporter, Segmenters, TriageAgent
from neuroscan_core.diagnosis.nifti_input import read_nifti_files
from neuroscan_core.diagnosis.picture_input import read_pictures
from neuroscan_core.domain.errors import ConfigurationError
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.inference.bundle import Bundle
from neuroscan_core.ports import InferenceEngine


def check_names(bundles: Mapping[str, Bundle], models: Sequence[str], classifier: str) -> None:
    """Refuse names of models that are not there or do other things.

    Raises
    ------
    ConfigurationError
    """
    for name in (*models, *([classifier] if classifier else [])):
        if name not in bundles:
            raise ConfigurationError(f"There is no model {name}.", remedy="`neuroscan models` lists what is there.")
    for name in models:
        if bundles[name].card.kind is ModelKind.CLASSIFIER:
            raise ConfigurationError(f"{name} is a classifier; it segments nothing.", remedy="Name it by --triage.")
    if classifier and bundles[classifier].card.kind is not ModelKind.CLASSIFIER:
        raise ConfigurationError(f"{classifier} is no classifier.", remedy="Name it by --models.")


def agents_for(
    config: NodeConfig, bundles: Mapping[str, Bundle], output: Path, classifier: str, *, with_identity: bool = False
) -> list[Agent]:
    """The whole chain.

    Parameters
    ----------
    config : NodeConfig
    bundles : mapping of str to Bundle
        Models there are.
    output : Path
        Folder of the report.
    classifier : str
        Empty for none.
    with_identity : bool
        Whether the report names the patient.
    """
    study = config.studies[0] if config.studies else StudyConfig(name="diagnosis", model="")
    readers: dict[str, inputs.Reader] = {
        inputs.DICOM: partial(read_dicom, config=config),
        inputs.NIFTI: partial(read_nifti_files, references=study.references, min_overlap=study.min_overlap),
        inputs.PICTURE: read_pictures,
    }

    def open_engine(name: str) -> AbstractContextManager[InferenceEngine]:
        return _engine(config, bundles[name])

    return [
        ReaderAgent(partial(inputs.gather, readers=readers)),
        TriageAgent(classifier, open_engine),
        Segmenters({name: bundle.card for name, bundle in bundles.items()}, open_engine),
        Measurer(),
        Critic(),
        Reporter(
            output,
            write_objects=partial(write_objects, config=config),
            prose=config.viewer.diagnose.prose,
            identify=identity_of if with_identity else None,
        ),
    ]


@contextmanager
def _engine(config: NodeConfig, bundle: Bundle) -> Iterator[InferenceEngine]:
    with closing(bundle.open_engine(config.segmenter)) as engine:
        yield engine
