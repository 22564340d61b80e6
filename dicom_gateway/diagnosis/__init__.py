"""What `neuroscan_core.diagnosis` needs of DICOM: series as sources, SEG and SR of results, identity on demand."""

from dicom_gateway.diagnosis.identity import identity_of
from dicom_gateway.diagnosis.objects import write_objects
from dicom_gateway.diagnosis.sources import read_dicom

__all__ = ["identity_of", "read_dicom", "write_objects"]
