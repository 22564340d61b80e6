"""Results on their way to the archives: SCU, couriers, storage commitment, dead letters, retention."""

from dicom_gateway.deliver.courier import DestinationHealth
from dicom_gateway.deliver.outbox import Delivery
from dicom_gateway.deliver.queueing import queue_for, revive
from dicom_gateway.deliver.retention import PurgeReport, Retention

__all__ = ["Delivery", "DestinationHealth", "PurgeReport", "Retention", "queue_for", "revive"]
