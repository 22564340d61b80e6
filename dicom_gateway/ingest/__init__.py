"""Receiving objects: storage SCP, spool, and what they hand on."""

from dicom_gateway.ingest.scp import StorageScp
from dicom_gateway.ingest.sink import IngestSink, StoredObject
from dicom_gateway.ingest.spool import Spool

__all__ = ["IngestSink", "Spool", "StorageScp", "StoredObject"]
