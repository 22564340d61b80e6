"""Slices as `sensor_msgs/Image`."""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image

from neuroscan_core.viewer.picture import tint
from neuroscan_core.viewer.scene import SlicePicture
from neuroscan_ros.colours import ColourOf
from neuroscan_ros.frames import PATIENT_LPS

MONO8, RGB8 = "mono8", "rgb8"
BLANK_SHAPE = (64, 64)


def image_to_msg(picture: SlicePicture, stamp: Time) -> Image:
    """Grey levels of the slice."""
    return array_to_msg(picture.grey_ji, stamp)


def overlay_to_msg(picture: SlicePicture, colour_of: ColourOf, stamp: Time) -> Image:
    """The slice, tinted where it is labelled."""
    return array_to_msg(tint(picture.grey_ji, picture.labels_ji, colour_of), stamp)


def labels_to_msg(picture: SlicePicture, stamp: Time) -> Image:
    """The labels, spread so that they can be told apart by eye; 0 is background."""
    return array_to_msg(spread_labels(picture.labels_ji), stamp)


def blank_to_msgs(shape: tuple[int, int], stamp: Time) -> tuple[Image, Image, Image]:
    """Black pictures in place of image, overlay and mask; viewers ignore an empty one and keep the last."""
    black_ji = np.zeros(shape, np.uint8)
    overlay = np.zeros((*shape, 3), np.uint8)
    return array_to_msg(black_ji, stamp), array_to_msg(overlay, stamp), array_to_msg(black_ji, stamp)


def spread_labels(labels_ji: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Grey levels of labels: 1 is 255, 2 is 170, 3 is 85, and the same again; bright, as most models have only 1."""
    steps = np.array([0, *(255 - 85 * ((value - 1) % 3) for value in range(1, 256))], np.uint8)
    return np.asarray(steps[labels_ji])


def array_to_msg(pixels: npt.NDArray[np.uint8], stamp: Time) -> Image:
    """Message of grey levels, shape (rows, columns), or of RGB, shape (rows, columns, 3)."""
    message = Image()
    message.header.stamp = stamp
    message.header.frame_id = PATIENT_LPS
    message.height, message.width = pixels.shape[:2]
    message.encoding = MONO8 if pixels.ndim == 2 else RGB8
    message.step = pixels.strides[0] if pixels.flags.c_contiguous else int(np.prod(pixels.shape[1:]))
    message.data = array("B", pixels.tobytes())
    return message


def array_from_msg(message: Image) -> npt.NDArray[np.uint8]:
    """Pixels of a message that `array_to_msg` made."""
    channels = 3 if message.encoding == RGB8 else 1
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    pixels = rows[:, : message.width * channels]
    return np.ascontiguousarray(pixels.reshape(message.height, message.width, 3) if channels == 3 else pixels)
