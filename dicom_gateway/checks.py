"""The checks of `neuroscan doctor` that need DICOM: rules and destinations."""

from __future__ import annotations

from collections.abc import Iterable

from dicom_gateway.rules import RuleSet, check_kinds
from neuroscan_core.config import DestinationConfig, NodeConfig, RuleConfig
from neuroscan_core.doctor import Check, Finding, failure, good, warning
from neuroscan_core.domain.errors import NeuroScanError
from neuroscan_core.inference.bundle import find_bundles


def gateway_checks(config: NodeConfig) -> list[Check]:
    """Checks of rules and destinations."""

    def rules() -> Iterable[Finding]:
        bundles = find_bundles(config.segmenter.models_dir)
        RuleSet(config.rules).check_models(bundles)
        check_kinds(config, {name: bundle.card.kind for name, bundle in bundles.items()})
        yield good("rules", f"{len(config.rules)} are valid and name models that are there")
        if config.studies:
            RuleSet([RuleConfig(name=one.name, when=one.when) for one in config.studies])
            yield good("studies", f"{len(config.studies)} are valid and name models that are there")

    def destinations() -> Iterable[Finding]:
        if not config.destinations:
            yield warning("destinations", "None: results stay in state_dir/results.", "Add the PACS to destinations.")
        for destination in config.destinations:
            yield check_destination(destination, config)

    return [rules, destinations]


def check_destination(destination: DestinationConfig, config: NodeConfig) -> Finding:
    """Whether a destination answers C-ECHO."""
    from dicom_gateway.deliver.scu import Peer, StoreScu

    subject = f"destination {destination.name}"
    where = f"{destination.ae_title} at {destination.host}:{destination.port}"
    try:
        with StoreScu(Peer.of(destination, config.gateway.ae_title), ()) as scu:
            scu.echo()
    except NeuroScanError as exc:
        return failure(subject, exc.message, exc.remedy or f"Check address, port and AE titles of {where}.")
    return good(subject, f"{where} answers C-ECHO")
