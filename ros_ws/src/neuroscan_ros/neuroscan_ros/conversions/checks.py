"""What conversions have in common: numbers and texts that fit their fields, and the error for those that do not."""

from __future__ import annotations

import array
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import NeuroScanError, WireFormatError

MAX_UINT8, MAX_UINT32 = 0xFF, 0xFFFF_FFFF
MIN_INT32, MAX_INT32 = -0x8000_0000, 0x7FFF_FFFF


@contextmanager
def reading(kind: str) -> Iterator[None]:
    """Turn whatever a bad message leads to into a `WireFormatError` that names its kind."""
    try:
        with np.errstate(all="ignore"):  # numbers that overflow in the checks of a geometry are refused by them
            yield
    except WireFormatError:
        raise
    except (NeuroScanError, AssertionError, ValueError, TypeError, OverflowError) as exc:
        raise WireFormatError(f"A message of the type {kind} cannot be read: {exc}.") from exc


def integer(value: int, low: int, high: int, what: str) -> int:
    """`value` as a plain int; `WireFormatError` where its field cannot hold it."""
    if not low <= value <= high:
        raise WireFormatError(f"{what} is {value}; a message holds {low} to {high}.")
    return int(value)


def count(value: int, what: str) -> int:
    """`value` for a field of type uint32."""
    return integer(value, 0, MAX_UINT32, what)


def text(value: str) -> str:
    """`value` for a string field, which ends at a zero and holds UTF-8: what does not fit becomes U+FFFD."""
    if value.isascii() and "\0" not in value:
        return str(value)
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def uid(value: str, what: str) -> str:
    """A UID of a message; `WireFormatError` where it is empty."""
    if not value:
        raise WireFormatError(f"{what} is empty.", remedy="Every series and every object has a UID.")
    return value


def positive(value: float, what: str) -> float:
    """A length of a message; `WireFormatError` where it is not a positive finite number."""
    if not (math.isfinite(value) and value > 0):
        raise WireFormatError(f"{what} is {value}; it must be a positive number.")
    return value


def fill(field: array.array[Any], values: npt.NDArray[Any], dtype: str) -> None:
    """Copy an array, row by row, into the empty sequence field of a new message.

    Parameters
    ----------
    field : array.array
    values : ndarray
        Of the type that `field` holds.
    dtype : str
        That type; `WireFormatError` where `values` are of another one.
    """
    if values.dtype != dtype:
        raise WireFormatError(f"An array is {values.dtype}; the message holds {dtype}.")
    if values.size:
        field.frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)


def view(field: array.array[Any], dtype: str, shape: tuple[int, ...], what: str) -> npt.NDArray[Any]:
    """Look at a sequence field as a read-only array, without a copy; `WireFormatError` where it has another size."""
    if len(field) != math.prod(shape):
        size = " x ".join(map(str, shape))
        raise WireFormatError(f"{what}: the message announces {size} values and carries {len(field)}.")
    if not len(field):
        return np.zeros(shape, dtype)
    values = np.frombuffer(field, dtype).reshape(shape)
    values.flags.writeable = False
    return values
