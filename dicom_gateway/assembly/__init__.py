"""Assembling series: stored objects become numbered slice events, and series that are known to be complete."""

from dicom_gateway.assembly.assembler import SeriesAssembler, SpooledObject
from dicom_gateway.assembly.intake import StoredObject

__all__ = ["SeriesAssembler", "SpooledObject", "StoredObject"]
