"""Storage commitment on the node's SCP: reports of archives come in, requests of scanners are answered.

A scanner that asks this node to commit gets the truth of the journal: what is acknowledged is on disk. The report goes
out on the association of the request; if the scanner has released it, to the destination of the configuration that has
the scanner's AE title, for nothing else says where the scanner listens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from dicom_gateway.deliver.commitment import JournalHoldings, Reporter, assess, parse_report
from dicom_gateway.deliver.scu import REQUEST_COMMITMENT, Peer, client_tls
from dicom_gateway.journal import Journal
from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.errors import DestinationUnreachable, UnreadableObject
from neuroscan_core.log import get_logger

log = get_logger(__name__)

# PS3.7 annex C.
SUCCESS = 0x0000
INVALID_ARGUMENT = 0x0115
NO_SUCH_ACTION = 0x0123


class CommitmentScp:
    """Handlers for the node's SCP, and the thread that reports to scanners.

    Parameters
    ----------
    take_report : callable
        Gets the Event Information of an archive's N-EVENT-REPORT; returns the status to answer.
    """

    def __init__(
        self, config: NodeConfig, journal: Journal, take_report: Callable[[Dataset], int], *, clock: Callable[[], float]
    ) -> None:
        self._config, self._journal, self._take_report, self._clock = config, journal, take_report, clock
        self._holdings = JournalHoldings(journal)
        self._reporter = Reporter(self._call, name="commitment-reporter")

    def start(self) -> None:
        """Begin to report."""
        self._reporter.start()

    def stop(self) -> None:
        """End; scanners ask again for what was not reported."""
        self._reporter.stop()

    def contexts(self) -> list[PresentationContext]:
        """Storage commitment in both roles: an archive calls as SCP, a scanner as SCU."""
        context = build_context(StorageCommitmentPushModel)
        context.scu_role = context.scp_role = True
        return [context]

    def handlers(self) -> list[tuple[evt.EventType, Callable[..., Any]]]:
        """N-EVENT-REPORT and N-ACTION."""
        return [(evt.EVT_N_EVENT_REPORT, self._on_report), (evt.EVT_N_ACTION, self._on_request)]

    def _on_report(self, event: evt.Event) -> tuple[int, None]:
        return self._take_report(event.event_information), None

    def _on_request(self, event: evt.Event) -> tuple[int, None]:
        if event.action_type != REQUEST_COMMITMENT:
            return NO_SUCH_ACTION, None
        try:
            request = parse_report(event.action_information)
        except UnreadableObject as exc:
            log.warning("a storage commitment request cannot be read", error=str(exc))
            return INVALID_ARGUMENT, None
        report = assess(request, self._holdings)
        caller = str(event.assoc.requestor.ae_title).strip()
        self._journal.audit(
            self._clock(), "commitment-asked", caller, f"{len(report.committed)} kept, {len(report.failed)} not"
        )
        self._reporter.send(event.assoc, caller, report)
        return SUCCESS, None

    def _call(self, caller: str) -> Association:
        for destination in self._config.destinations:
            if destination.ae_title == caller:
                return call_as_commitment_scp(Peer.of(destination, self._config.gateway.ae_title))
        raise DestinationUnreachable(
            f"{caller} has released its association and its address is not known.",
            remedy="Let it keep the association open, or add a destination with its AE title and an empty `send`.",
        )


def call_as_commitment_scp(peer: Peer) -> Association:
    """Open an association on which this side reports as SCP of storage commitment (PS3.4 J.3.3).

    Raises
    ------
    DestinationUnreachable
        It does not come about.
    """
    ae = AE(ae_title=peer.calling_ae_title)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = peer.timeout_s
    role = build_role(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    try:
        assoc = ae.associate(
            peer.host,
            peer.port,
            contexts=[build_context(StorageCommitmentPushModel)],
            ae_title=peer.ae_title,
            ext_neg=[role],
            tls_args=(client_tls(peer.tls), peer.host) if peer.tls is not None else None,
        )
    except OSError as exc:
        raise DestinationUnreachable(f"The address {peer.host} cannot be resolved.") from exc
    if not assoc.is_established:
        raise DestinationUnreachable(f"{peer.name} ({peer.host}:{peer.port}) takes no report.")
    return assoc
