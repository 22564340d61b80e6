"""Charts of voxels: confusion, precision and recall, ROC, thresholds, calibration; and the curves of the training."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.model_card import ModelKind
from training.audit.evidence import Evidence, SegmentationEvidence, column, columns_but
from training.audit.style import FAINT, INK, SERIES, new_figure
from training.metrics import ProbabilityHistogram
from training.metrics.histogram import Reliability
from training.regions import CLASSES

POSITION_COLUMNS = ("step", "epoch", "minutes", "learning_rate", "loss")
THRESHOLDS = np.linspace(0.0, 1.0, 201)


def confusion(evidence: SegmentationEvidence) -> Any:
    """Voxels by true and predicted class, as shares of the true class."""
    names = ["background", "tumour"] if evidence.kind is ModelKind.SLICE25D else ["background", *CLASSES.values()]
    count = len(names)
    total = np.zeros((count, count))
    for case in evidence.cases:
        truth, found = evidence.truth(case), evidence.labels(case)
        if count == 2:
            truth, found = (truth > 0).astype(np.uint8), (found > 0).astype(np.uint8)
        pairs = truth.astype(np.int64).ravel() * count + found.ravel()
        total += np.bincount(pairs, minlength=count * count).reshape(count, count)
    return draw_confusion(total, names, "voxels")


def draw_confusion(total_KK: npt.NDArray[Any], names: list[str], unit: str) -> Any:
    """Draw a confusion matrix: share of the true class in the colour and as a number, count below."""
    count = len(names)
    figure, axes = new_figure(2.2 + 1.25 * count, 1.5 + 1.05 * count)
    shares = total_KK / np.maximum(total_KK.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(count):
        for place in range(count):
            colour = "white" if shares[row, place] > 0.55 else INK
            text = f"{shares[row, place]:.1%}\n{_short(total_KK[row, place])}"
            axes.text(place, row, text, ha="center", va="center", color=colour, fontsize=9)
    labels = [name.replace(" ", "\n") for name in names]
    axes.set_xticks(range(count), labels=labels)
    axes.set_yticks(range(count), labels=labels)
    axes.set(xlabel="predicted", ylabel="true")
    axes.grid(False)
    figure.colorbar(picture, ax=axes, shrink=0.8, label=f"share of the true class's {unit}")
    return figure


def _short(count: float) -> str:
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if count >= limit:
            return f"{count / limit:.1f} {unit}"
    return f"{count:.0f}"


def _pooled(evidence: SegmentationEvidence, region: str, which: str) -> list[tuple[str, ProbabilityHistogram]]:
    return [
        (name, sum((getattr(entry, which)[region] for entry in group), ProbabilityHistogram.empty()))
        for name, group in evidence.sets()
    ]


def _lines(evidence: SegmentationEvidence, which: str) -> list[tuple[str, str, str, ProbabilityHistogram]]:
    """Label, colour, dash and histogram of each line: a colour per region, a dash per set."""
    lines = []
    for n, region in enumerate(evidence.regions):
        for m, (name, histogram) in enumerate(_pooled(evidence, region, which)):
            colour = SERIES[n] if len(evidence.regions) > 1 else SERIES[m]
            dash = ("-", "--", ":")[m % 3] if len(evidence.regions) > 1 else "-"
            lines.append((f"{region}, {name}", colour, dash, histogram))
    return lines


def precision_recall(evidence: SegmentationEvidence) -> Any:
    """Precision against recall over all voxels; the chosen threshold is marked."""
    figure, axes = new_figure(6.0, 4.8)
    chosen = np.array([evidence.evaluation.postprocessing.threshold])
    for label, colour, dash, histogram in _lines(evidence, "volume"):
        precision, recall = histogram.precision_recall_curve()
        axes.plot(recall, precision, color=colour, linestyle=dash, label=label)
        at = histogram.precision_recall(chosen)
        axes.plot(at[1], at[0], color=colour, marker="o", markeredgecolor="white", markersize=8)
    axes.set(xlabel="recall", ylabel="precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.legend(loc="lower left")
    return figure


def roc(evidence: SegmentationEvidence) -> Any:
    """True against false positive rate over the tissue, with the steep part enlarged."""
    figure, (left, right) = new_figure(9.0, 4.4, 1, 2)
    for label, colour, dash, histogram in _lines(evidence, "tissue"):
        false, true = histogram.roc()
        for axes in (left, right):
            axes.plot(false, true, color=colour, linestyle=dash, label=f"{label} (AUC {histogram.auc:.4f})")
    left.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
    left.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    right.set(xlabel="false positive rate", xlim=(-0.0005, 0.05), ylim=(0.5, 1.01), title="enlarged")
    left.legend(loc="lower right")
    return figure


def thresholds(evidence: SegmentationEvidence) -> Any:
    """Mean Dice of the patients at each threshold, before postprocessing."""
    figure, axes = new_figure(7.5, 4.4)
    for n, region in enumerate(evidence.regions):
        for m, (name, group) in enumerate(evidence.sets()):
            rows = np.array([entry.volume[region].dice(THRESHOLDS) for entry in group])
            colour = SERIES[n] if len(evidence.regions) > 1 else SERIES[m]
            dash = ("-", "--", ":")[m % 3] if len(evidence.regions) > 1 else "-"
            axes.plot(THRESHOLDS, rows.mean(axis=0), color=colour, linestyle=dash, label=f"{region}, {name}")
            if len(evidence.regions) == 1:
                axes.fill_between(THRESHOLDS, rows.min(axis=0), rows.max(axis=0), color=colour, alpha=0.1, linewidth=0)
    axes.axvline(evidence.evaluation.postprocessing.threshold, color=INK, linewidth=1, linestyle="--")
    axes.set(xlabel="threshold", ylabel="mean Dice", xlim=(0, 1), ylim=(-0.01, 1.01))
    axes.legend(loc="lower center", ncols=2)
    return figure


def reliability(evidence: SegmentationEvidence) -> Any:
    """Observed against predicted frequency over the tissue, and how many voxels each bin holds."""
    curves = [(label, colour, dash, h.reliability(), h.brier) for label, colour, dash, h in _lines(evidence, "tissue")]
    return draw_reliability(curves, "voxels")


def draw_reliability(curves: list[tuple[str, str, str, Reliability, float]], unit: str) -> Any:
    """Draw reliability curves: label, colour, dash, curve and Brier score of each."""
    figure, (top, bottom) = new_figure(6.2, 5.6, 2, 1, height_ratios=[3, 1], sharex=True)
    top.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
    for label, colour, dash, curve, brier in curves:
        used = curve.counts_B > 0
        text = f"{label}: ECE {curve.ece:.4f}, Brier {brier:.4f}"
        top.plot(
            curve.confidence_B[used],
            curve.frequency_B[used],
            color=colour,
            linestyle=dash,
            marker="o",
            ms=4,
            label=text,
        )
        centres = (np.arange(len(curve.counts_B)) + 0.5) / len(curve.counts_B)
        bottom.step(centres, np.where(used, curve.counts_B, np.nan), where="mid", color=colour, linestyle=dash)
    top.set(ylabel="observed frequency", ylim=(-0.02, 1.02))
    top.legend(loc="upper left", fontsize=8)
    bottom.set(yscale="log", xlabel="predicted probability", ylabel=unit, xlim=(-0.01, 1.01))
    return figure


def training_curves(evidence: Evidence) -> Any | None:
    """Training loss and validation figures by step."""
    if not column(evidence.history, "loss")[0] and not column(evidence.history, "score")[0]:
        return None
    figure, (left, right) = new_figure(9.0, 4.0, 1, 2)
    steps, losses = column(evidence.history, "loss")
    left.plot(steps, losses, color=SERIES[0], alpha=0.3, linewidth=1)
    left.plot(steps, _smooth(losses), color=SERIES[0])
    left.set(xlabel="step", ylabel="loss", title="Training loss")
    for colour, name in zip(SERIES, columns_but(evidence.history, *POSITION_COLUMNS), strict=False):
        right.plot(*column(evidence.history, name), color=colour, marker="o", ms=3, label=name.replace("_", " "))
    right.set(xlabel="step", title="Validation")
    right.legend(loc="lower right", fontsize=8)
    return figure


def learning_rate(evidence: Evidence) -> Any | None:
    """Learning rate by step."""
    steps, rates = column(evidence.history, "learning_rate")
    if not steps:
        return None
    figure, axes = new_figure(7.5, 3.0)
    axes.plot(steps, rates, color=SERIES[3])
    axes.set(xlabel="step", ylabel="learning rate", ylim=(0, max(rates) * 1.08))
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    return figure


def _smooth(values: list[float], window: int = 9) -> npt.NDArray[np.float64]:
    """Mean of neighbours, shorter at the ends."""
    weights = np.ones(min(window, max(len(values), 1)))
    norm = np.convolve(np.ones(len(values)), weights, mode="same")
    return np.asarray(np.convolve(values, weights, mode="same") / norm) if values else np.zeros(0)
