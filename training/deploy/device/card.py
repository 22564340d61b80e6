"""The model's card, `card.json`, and the files beside it."""

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
SLICE25D, MULTIMODAL2D, VOLUME3D, CLASSIFIER = "slice25d", "multimodal2d", "volume3d", "classifier"


class CannotRun(Exception):
    """What happened and what to do, for a person; ends a program with status 1."""


def path_of(name):
    """Return the path of a file of this folder."""
    return HERE / name


def has(name):
    """Whether this folder holds a file."""
    return path_of(name).is_file()


def load_card():
    """Return the card as a dictionary; see `card.json`."""
    return json.loads(path_of("card.json").read_text(encoding="utf-8"))


def input_shape(card):
    """Return the shape of one input, without the batch."""
    return (len(card["channels"]), *tuple(card["size"]))
