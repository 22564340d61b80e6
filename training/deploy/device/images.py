# ruff: noqa: B905 - Python 3.6 has no zip(strict=)
"""Reads what is to be segmented, and writes masks and pictures of them."""

import re

import cv2
import numpy as np
from card import CLASSIFIER, SLICE25D, VOLUME3D, CannotRun

ARRAYS = (".npy", ".npz")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def read_series(path, card):
    """Return the series of a path: list of (name, array, spacing_mm).

    A `.npz` holds `image` and `spacing_mm` (slices, rows, columns); a `.npy` has the model's own spacing; a folder
    holds such files, or pictures, which together are one series in the order of the numbers in their names. Arrays are
    (D, H, W), or (C, D, H, W) for models of several sequences: axial slices towards the head, row 0 anterior, column 0
    patient right.
    """
    if path.is_dir():
        paths = sorted(path.iterdir(), key=_natural)
        arrays = [each for each in paths if each.suffix in ARRAYS]
        pictures = [each for each in paths if each.suffix.lower() in PICTURES]
        if arrays:
            return [_read_array(each, card) for each in arrays]
        if pictures and len(card["channels"]) != 4:
            return [_stack(path.resolve().name, pictures, card)]
        raise CannotRun("{} holds no .npy or .npz file{}.".format(path, "" if pictures else " and no picture"))
    if path.suffix.lower() in PICTURES:
        return [_stack(path.stem, [path], card)]
    return [_read_array(path, card)]


def _read_array(path, card):
    try:
        loaded = np.load(str(path))
    except (OSError, ValueError) as error:
        raise CannotRun(f"{path} is no array of NumPy: {error}.") from error
    spacing = [card["spacing_mm"]] * 3
    if path.suffix == ".npz":
        image, spacing = loaded["image"], [float(step) for step in loaded["spacing_mm"]]
    else:
        image = loaded
    num_axes = 4 if len(card["channels"]) == 4 else 3
    if image.ndim != num_axes or (num_axes == 4 and len(image) != 4):
        wanted = "(4, slices, rows, columns)" if num_axes == 4 else "(slices, rows, columns)"
        raise CannotRun(f"{path} has the shape {image.shape}; {wanted} is wanted.")
    off = max(abs(step / card["spacing_mm"] - 1) for step in spacing)
    if card["kind"] == VOLUME3D and off > card["spacing_tolerance"]:
        raise CannotRun("{} has voxels of {} mm; bring it to {} mm first.".format(path, spacing, card["spacing_mm"]))
    return path.stem, image, spacing


def _stack(name, paths, card):
    images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    unread = [str(path) for path, image in zip(paths, images) if image is None]
    if unread:
        raise CannotRun("Pictures that cannot be read: {}.".format(", ".join(unread)))
    if card["kind"] == CLASSIFIER:
        return name, images, [card["spacing_mm"]] * 3
    if len({image.shape for image in images}) != 1:
        raise CannotRun(f"The pictures of {name} differ in size; a series has one.")
    return name, np.stack(images), [card["spacing_mm"]] * 3


def _natural(path):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def write_result(folder, name, image, labels, card):
    """Write the label map as `NAME-mask.npy`, and an overlay of each slice on which something was found."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(str(folder / (name + "-mask.npy")), labels)
    shown = image if card["kind"] == SLICE25D else image[card["shown_channel"]]
    found = [z for z in range(len(labels)) if labels[z].any()]
    for z in found:
        cv2.imwrite(str(folder / f"{name}-{z:03d}.png"), overlay(shown[z], labels[z], card))
    return len(found)


def overlay(slice_HW, labels_HW, card):
    """Return a BGR picture of a slice with its labels over it, their outlines drawn full."""
    image = slice_HW.astype(np.float32)
    low, high = np.percentile(image, (1, 99.5))
    grey = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1) * 255
    picture = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    for label in card["labels"]:
        mask = (labels_HW == label["value"]).astype(np.uint8)
        colour = np.array(label["colour_rgb"][::-1], dtype=np.float32)
        inside = mask > 0
        picture[inside] = (0.65 * picture[inside] + 0.35 * colour).astype(np.uint8)
        edge = inside & (cv2.erode(mask, np.ones((3, 3), np.uint8)) == 0)
        picture[edge] = colour.astype(np.uint8)
    return picture
