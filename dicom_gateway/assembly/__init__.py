"""Assembling series: stored objects become numbered slice events, and series that are known to be complete."""

from dicom_gateway.assembly.assembler import SeriesAssembler
from dicom_gateway.assembly.intake import StoredObject
from dicom_gateway.assembly.messages import SpooledObject

__all__ = ["SeriesAssembler", "SpooledObject", "StoredObject"]
