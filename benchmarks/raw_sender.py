"""A sender whose work is done before the clock starts: C-STORE requests as ready-made PDUs, one process an association.

Used for every receiver alike, so that a slow sender hides no receiver. Run as ``python -m benchmarks.raw_sender PORT
COUNT SEED``: it associates, prints ``ready``, waits for a line, sends, and prints the monotonic times of the first
byte sent and the last response read.
"""

from __future__ import annotations

import io
import socket
import struct
import sys
import time

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ, A_RELEASE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    A_RELEASE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

SIZE = 256
SENDER_LIMIT_BYTES = 1 << 17  # what common senders put into one PDU at most
CONTEXT_ID = 1
RESPONSE_TIMEOUT_S = 60.0


def image(seed: int, index: int) -> tuple[str, bytes]:
    """SOP Instance UID and data set of a synthetic 256x256 16-bit MR image with the header of a plain slice."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    root = f"2.25.{seed}"
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, f"{root}.{index + 1}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = f"{root}.8", f"{root}.9", f"{root}.7"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = "20240101"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "120000"
    ds.AccessionNumber = ds.ReferringPhysicianName = ds.PatientBirthDate = ds.PatientSex = ""
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "MR", "SYNTHETIC", "NOISE"
    ds.StudyDescription, ds.SeriesDescription, ds.ProtocolName = "BENCHMARK", "FLAIR", "FLAIR"
    ds.PatientName, ds.PatientID, ds.BodyPartExamined = "BENCH^MARK", f"{seed}", "BRAIN"
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SE", "SK", "FS", "2D"
    ds.SliceThickness = ds.SpacingBetweenSlices = "1.0"
    ds.RepetitionTime, ds.EchoTime, ds.InversionTime, ds.FlipAngle = "9000", "90", "2500", "150"
    ds.MagneticFieldStrength, ds.EchoTrainLength, ds.PatientPosition = "3", "16", "HFS"
    ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = "1", "1", "1", str(index + 1)
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-128, -128, index], [1, 0, 0, 0, 1, 0]
    ds.PositionReferenceIndicator, ds.SliceLocation = "", str(index)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = SIZE
    ds.PixelSpacing = [1, 1]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = "600", "1600"
    ds.PixelData = np.random.default_rng(seed + index).integers(0, 4096, SIZE * SIZE, np.uint16).tobytes()
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=False, implicit_vr=False, little_endian=True)
    return str(ds.SOPInstanceUID), buffer.getvalue()


def _element(element: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHL", 0, element, len(value)) + value


def store_request(message_id: int, uid: str, data_set: bytes, max_pdu: int) -> bytes:
    """The PDUs of one C-STORE request."""
    command = (
        _element(2, MRImageStorage.encode()) + _element(0x100, b"\1\0") + _element(0x110, struct.pack("<H", message_id))
        + _element(0x700, b"\0\0") + _element(0x800, b"\1\0") + _element(0x1000, uid.encode())
    )  # fmt: skip
    pdus = [_p_data(3, _element(0, struct.pack("<L", len(command))) + command)]
    room = max_pdu - 6
    for start in range(0, len(data_set), room):
        pdus.append(_p_data(2 if start + room >= len(data_set) else 0, data_set[start : start + room]))
    return b"".join(pdus)


def _p_data(control: int, fragment: bytes) -> bytes:
    return struct.pack(">BBLLBB", 4, 0, len(fragment) + 6, len(fragment) + 2, CONTEXT_ID, control) + fragment


def associate(connection: socket.socket, called_ae: str) -> int:
    """Associate for MR images in explicit VR little endian; the largest PDU that may be sent."""
    request = A_ASSOCIATE()
    request.application_context_name = "1.2.840.10008.3.1.1.1"
    request.calling_ae_title, request.called_ae_title = "BENCHMARK", called_ae
    context = build_context(MRImageStorage, ExplicitVRLittleEndian)
    context.context_id = CONTEXT_ID
    request.presentation_context_definition_list = [context]
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16384
    implementation.implementation_class_uid = "2.25.1"
    request.user_information = [length, implementation]
    connection.sendall(A_ASSOCIATE_RQ(request).encode())
    answer = A_ASSOCIATE_AC()
    answer.decode(_read_pdu(connection))
    primitive = answer.to_primitive()
    assert primitive.presentation_context_definition_results_list[0].result == 0, "not accepted"
    return min(primitive.maximum_length_received or SENDER_LIMIT_BYTES, SENDER_LIMIT_BYTES)


def _read_pdu(connection: socket.socket) -> bytes:
    head = _read(connection, 6)
    return head + _read(connection, struct.unpack(">L", head[2:])[0])


def _read(connection: socket.socket, size: int) -> bytes:
    data = connection.recv(size, socket.MSG_WAITALL)
    if len(data) != size:
        raise ConnectionError("the receiver closed the connection")
    return data


_SUCCESS = _element(0x900, b"\0\0")


def send(port: int, count: int, seed: int, called_ae: str = "ANY-SCP") -> None:
    """Send `count` images and print when."""
    images = [image(seed, index) for index in range(count)]
    with socket.create_connection(("127.0.0.1", port), timeout=RESPONSE_TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(None)
        max_pdu = associate(connection, called_ae)
        requests = [store_request(index % 65535 + 1, uid, data, max_pdu) for index, (uid, data) in enumerate(images)]
        print("ready", flush=True)
        sys.stdin.readline()
        start_s = time.monotonic()
        for request in requests:
            connection.sendall(request)
            response = _read_pdu(connection)
            assert _SUCCESS in response, "not stored"
        print(start_s, time.monotonic(), flush=True)
        connection.sendall(A_RELEASE_RQ(A_RELEASE()).encode())
        _read_pdu(connection)


if __name__ == "__main__":
    send(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
