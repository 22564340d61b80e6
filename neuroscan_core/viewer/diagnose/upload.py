"""Takes in a form of files, straight to disk: no file is held in memory, and no limit is found only at the end."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO

import anyio.to_thread
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from neuroscan_core.domain.errors import WebProblem
from neuroscan_core.viewer.diagnose.names import free_path, safe_name

MAX_HEADER_BYTES = 16 << 10  # of one part: its name, mostly
MAX_PARTS_BESIDE = 100  # fields that are no files
MIN_FREE_BYTES = 512 << 20


@dataclass(frozen=True)
class Received:
    """What came.

    Parameters
    ----------
    num_files, num_bytes : int
    """

    num_files: int
    num_bytes: int


async def receive_files(
    content_type: str, stream: AsyncIterator[bytes], folder: Path, *, max_files: int, max_bytes: int
) -> Received:
    """Write the files of a ``multipart/form-data`` body below a folder.

    Parameters
    ----------
    content_type : str
        Of the request.
    stream : async iterator of bytes
        Its body.
    folder : Path
        Exists, is empty.
    max_files, max_bytes : int
        Of all files together.

    Raises
    ------
    WebProblem
        It is no such form, is damaged, holds no file, or is too large.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise WebProblem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "This is no form with files.",
            meaning="Nothing was kept.", remedy="Send multipart/form-data, as the page does.",
        )  # fmt: skip
    if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
        raise WebProblem(
            HTTPStatus.INSUFFICIENT_STORAGE, "The disk of the node is full.",
            meaning="Nothing was kept.", remedy="Delete old diagnoses, or make room on the disk.",
        )  # fmt: skip
    writer = _Writer(folder, max_files, max_bytes)
    try:
        parser = MultipartParser(options[b"boundary"], writer.callbacks())  # type: ignore[arg-type]
        async for chunk in stream:
            if chunk:
                await anyio.to_thread.run_sync(parser.write, chunk)
        parser.finalize()
    except (FormParserError, UnicodeDecodeError) as exc:
        raise _damaged() from exc
    except OSError as exc:
        raise WebProblem(
            HTTPStatus.INSUFFICIENT_STORAGE, "A file cannot be kept.", meaning="Nothing was kept.",
            remedy="Make room on the disk of the node.",
        ) from exc  # fmt: skip
    finally:
        writer.close()
    return writer.received()


class _Writer:
    """What the parser calls: opens, fills and closes files."""

    def __init__(self, folder: Path, max_files: int, max_bytes: int) -> None:
        self._folder, self._max_files, self._max_bytes = folder, max_files, max_bytes
        self._num_files = self._num_bytes = self._num_beside = 0
        self._file: IO[bytes] | None = None
        self._field, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._is_ended = False

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_part_end": self.close,
            "on_end": self._on_end,
        }

    def received(self) -> Received:
        if not self._is_ended:
            raise _damaged()
        if self._num_files == 0 or self._num_bytes == 0:
            raise WebProblem(
                HTTPStatus.UNPROCESSABLE_ENTITY, "No file with content came.", meaning="There is nothing to look at.",
                remedy="Choose DICOM, NIfTI, PNG or JPEG files, a folder of them, or a zip archive.",
            )  # fmt: skip
        return Received(self._num_files, self._num_bytes)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        self.close()
        self._headers, self._header_bytes = {}, 0

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._value += data[start:end]

    def _count_header(self, number: int) -> None:
        self._header_bytes += number
        if self._header_bytes > MAX_HEADER_BYTES:
            raise _damaged()

    def _on_header(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"filename")
        if name is None:
            self._num_beside += 1
            if self._num_beside > MAX_PARTS_BESIDE:
                raise _damaged()
            return
        self._num_files += 1
        if self._num_files > self._max_files:
            raise WebProblem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "These are too many files.",
                meaning=f"At most {self._max_files} are taken. Nothing was kept.",
                remedy="Give one study at a time, or raise viewer.uploads.max_files.",
            )  # fmt: skip
        target = safe_name(name.decode("utf-8", "replace"))
        self._file = free_path(self._folder, target).open("xb")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._num_bytes += end - start
        if self._num_bytes > self._max_bytes:
            raise WebProblem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "This is too large.",
                meaning=f"At most {self._max_bytes >> 20} MiB are taken. Nothing was kept.",
                remedy="Give one study at a time, or raise viewer.uploads.max_bytes.",
            )  # fmt: skip
        if self._file is not None:
            self._file.write(data[start:end])

    def _on_end(self) -> None:
        self._is_ended = True


def _damaged() -> WebProblem:
    return WebProblem(
        HTTPStatus.BAD_REQUEST, "The upload is damaged.", meaning="Nothing was kept.", remedy="Send it once more."
    )
