# ruff: noqa: B905 - Python 3.6 has no zip(strict=)
"""Segments (or classifies) images, writes masks and overlays, and says how fast that was.

    python3 run.py [PATH] [--out FOLDER] [--engine opencv]

PATH is a .npy or .npz file, a picture, or a folder of them; default: the samples, which are generated heads and show no
patient. See `images.py` for what arrays hold. Research only; not a medical device.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import preprocess
from card import CLASSIFIER, MULTIMODAL2D, SLICE25D, CannotRun, input_shape, load_card, path_of
from engines import ENGINES, open_engine
from images import read_series, write_result
from labels import label_map, probabilities

WARM_UP = 2


class Pipeline:
    """From the intensities of a series to its labels, on one engine; keeps the time that each slice takes."""

    def __init__(self, engine, card):
        self.engine, self.card = engine, card
        self.seconds = []

    def warm_up(self):
        """Run a few empty inputs: the first ones are slow on every engine."""
        for _ in range(WARM_UP):
            self.engine.infer(np.zeros((1, *input_shape(self.card)), dtype=np.float32))
        del self.engine.seconds[:]

    def segment(self, image, spacing_mm):
        """Return the label map (D, H, W) of a series."""
        kind = self.card["kind"]
        if kind == SLICE25D:
            return self._slices(image, spacing_mm)
        return self._multimodal(image, spacing_mm) if kind == MULTIMODAL2D else self._volume(image)

    def classify(self, slices):
        """Return the probabilities of the classes, (slices, classes)."""
        found = []
        for slice_HW in slices:
            start = time.perf_counter()
            picture = preprocess.picture_from_slice(slice_HW, self.card["size"])
            found.append(probabilities(self.engine.infer(picture[None]), self.card)[0])
            self.seconds.append(time.perf_counter() - start)
        return np.array(found)

    def _grid(self, shape, spacing_mm):
        card = self.card
        return preprocess.Grid(shape, spacing_mm[1:], card["size"], card["spacing_mm"], card["spacing_tolerance"])

    def _slices(self, image, spacing_mm):
        grid = self._grid(image.shape[1:], spacing_mm)
        labels = np.zeros(image.shape, dtype=np.uint8)
        fitted, scales = [], []
        for z in range(len(image)):
            # A slice is prepared once, as it arrives, and then part of three windows.
            start = time.perf_counter()
            for n in range(len(fitted), min(z + 2, len(image))):
                fitted.append(grid.to_model(image[n]))
                scales.append(preprocess.slice_scale(fitted[n]))
            if scales[z] <= 0.0:
                continue
            window = [max(z - 1, 0), z, min(z + 1, len(image) - 1)]
            image_CHW = preprocess.normalise_window([fitted[n] for n in window], [scales[n] for n in window])
            labels[z] = grid.from_model(label_map(self.engine.infer(image_CHW[None])[0], self.card))
            self.seconds.append(time.perf_counter() - start)
        return labels

    def _multimodal(self, image, spacing_mm):
        grid = self._grid(image.shape[2:], spacing_mm)
        labels = np.zeros(image.shape[1:], dtype=np.uint8)
        statistics = [preprocess.volume_statistics(channel) for channel in image]
        for z in range(image.shape[1]):
            start = time.perf_counter()
            fitted = [grid.to_model(channel[z]) for channel in image]
            if all(float(slice_HW.max()) <= float(slice_HW.min()) for slice_HW in fitted):
                continue
            image_CHW = np.stack([preprocess.normalise_volume(s, of) for s, of in zip(fitted, statistics)])
            labels[z] = grid.from_model(label_map(self.engine.infer(image_CHW[None])[0], self.card))
            self.seconds.append(time.perf_counter() - start)
        return labels

    def _volume(self, image):
        start = time.perf_counter()
        image = image.astype(np.float32)
        labels = np.zeros(image.shape[1:], dtype=np.uint8)
        box = preprocess.head_box(image, self.card["spacing_mm"])
        if box is not None:
            statistics = [preprocess.volume_statistics(channel) for channel in image]
            scores = [preprocess.normalise_volume(channel[box], of) for channel, of in zip(image, statistics)]
            logits = preprocess.slide(np.stack(scores), self.engine.infer, self.card["size"], len(self.card["outputs"]))
            labels[box] = label_map(logits, self.card)
        self.seconds.append(time.perf_counter() - start)
        return labels


def run(path, out, pipeline):
    """Segment or classify everything at a path."""
    card = pipeline.card
    pipeline.warm_up()
    for name, image, spacing_mm in read_series(path, card):
        if card["kind"] == CLASSIFIER:
            write_classes(out, name, pipeline.classify(image), card)
            continue
        labels = pipeline.segment(image, spacing_mm)
        num_found = write_result(out, name, image, labels, card)
        volume_ml = float((labels > 0).sum()) * float(np.prod(spacing_mm)) / 1000.0
        print(f"{name}: {volume_ml:.1f} ml on {num_found} of {len(labels)} slices")


def write_classes(folder, name, found, card):
    """Write and print the likeliest class of each picture."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{card["outputs"][n]: round(float(p), 4) for n, p in enumerate(row)} for row in found]
    (folder / (name + "-classes.json")).write_text(json.dumps(rows, indent=1), encoding="utf-8")
    for number, row in enumerate(found):
        print("{} {}: {} ({:.0%})".format(name, number, card["outputs"][int(row.argmax())], float(row.max())))


def print_speed(pipeline):
    """Print both latencies and frames per second."""
    unit = {"volume3d": "volume", "classifier": "picture"}.get(pipeline.card["kind"], "slice")
    for what, seconds in (
        ("engine alone", pipeline.engine.seconds),
        ("{} in -> {} out".format(unit, "class" if unit == "picture" else "mask"), pipeline.seconds),
    ):
        if seconds:
            median, p99 = np.percentile(seconds, (50, 99)) * 1000
            print(f"{what:<24} median {median:8.2f} ms   p99 {p99:8.2f} ms   {1000 / median:7.1f} FPS")
    print(f"measured on: {pipeline.engine.name}")


def main(argv=None):
    """Run the command; returns the process's exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", type=Path, default=path_of("samples"), help="default: the samples")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the results (default: out)")
    parser.add_argument("--engine", choices=ENGINES, default="tensorrt")
    arguments = parser.parse_args(argv)
    try:
        card = load_card()
        pipeline = Pipeline(open_engine(arguments.engine, card), card)
        run(arguments.path, arguments.out, pipeline)
    except CannotRun as error:
        print(f"run: {error}", file=sys.stderr)
        return 1
    print_speed(pipeline)
    print(f"results in {arguments.out.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
