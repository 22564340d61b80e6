"""Charts and pictures of a classifier: confusion, ROC, calibration, classes, certainty, pictures it gets wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.audit.evidence import PictureEvidence
from training.audit.style import FAINT, INK, INVENTED, RIGHT, SERIES, new_figure, picture_grid
from training.audit.voxel_charts import draw_confusion, draw_reliability
from training.metrics import Classification

COLUMNS = 6
NUM_PICTURES = 18


def confusion(evidence: PictureEvidence) -> Any:
    """Pictures by true and predicted class."""
    found = evidence.evaluation.found
    return draw_confusion(found.confusion_KK, list(found.class_names), "pictures")


def roc(evidence: PictureEvidence) -> Any:
    """ROC of each class against the others."""
    found = evidence.evaluation.found
    figure, axes = new_figure(6.0, 4.8)
    for n, name in enumerate(found.class_names):
        if np.isnan(found.auc(n)):
            continue
        axes.plot(*found.roc(n), color=SERIES[n], label=f"{name} (AUC {found.auc(n):.4f})")
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.legend(loc="lower right")
    return figure


def precision_recall(evidence: PictureEvidence) -> Any:
    """Precision against recall of each class against the others."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    found = evidence.evaluation.found
    figure, axes = new_figure(6.0, 4.8)
    for n, name in enumerate(found.class_names):
        belongs = found.truth_N == n
        if not belongs.any():
            continue
        precision, recall, _ = precision_recall_curve(belongs, found.probabilities_NK[:, n])
        average = average_precision_score(belongs, found.probabilities_NK[:, n])
        axes.plot(recall, precision, color=SERIES[n], label=f"{name} (AP {average:.4f})")
    axes.set(xlabel="recall", ylabel="precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.legend(loc="lower left")
    return figure


def reliability(evidence: PictureEvidence) -> Any:
    """How often the most probable class is right, by its probability."""
    found = evidence.evaluation.found
    return draw_reliability([("most probable class", SERIES[0], "-", found.reliability(), found.brier)], "pictures")


def classes(evidence: PictureEvidence) -> Any:
    """Precision, recall and F1 of each class."""
    found = evidence.evaluation.found
    figure, axes = new_figure(8.0, 3.8)
    figures = found.per_class()
    for n, name in enumerate(("precision", "recall", "f1")):
        values = [entry[name] for entry in figures.values()]
        bars = axes.bar(np.arange(len(values)) + 0.26 * (n - 1), values, width=0.24, color=SERIES[n], label=name)
        axes.bar_label(bars, fmt="%.2f", fontsize=8, padding=2)
    axes.set_xticks(range(len(figures)), labels=[f"{name}\nn={e['pictures']}" for name, e in figures.items()])
    axes.set(ylim=(0, 1.12))
    axes.grid(axis="x", visible=False)
    figure.legend(loc="outside upper right", ncols=3)
    return figure


def certainty(evidence: PictureEvidence) -> Any:
    """Probability of the most probable class, where it is right and where it is wrong."""
    found = evidence.evaluation.found
    figure, axes = new_figure(7.5, 3.6)
    confidence = found.probabilities_NK.max(axis=1)
    parts = [confidence[found.is_right_N], confidence[~found.is_right_N]]
    bins = np.linspace(1 / len(found.class_names), 1, 21)
    axes.hist(parts, bins=bins, stacked=True, color=[SERIES[2], SERIES[1]], label=["right", "wrong"])
    axes.set(xlabel="probability of the most probable class", ylabel="pictures")
    axes.legend(loc="upper left")
    return figure


def coverage(evidence: PictureEvidence) -> Any:
    """Accuracy when the least certain pictures are left to a person."""
    found = evidence.evaluation.found
    order = np.argsort(-found.probabilities_NK.max(axis=1), kind="stable")
    count = np.arange(1, len(order) + 1)
    accuracy = np.cumsum(found.is_right_N[order]) / count
    figure, axes = new_figure(7.5, 3.6)
    axes.plot(count / len(order), accuracy, color=SERIES[0])
    axes.set(xlabel="share of pictures that it decides, the most certain first", ylabel="accuracy of those")
    axes.set(xlim=(0, 1.01), ylim=(min(0.5, float(accuracy.min())), 1.01))
    return figure


def worst_pictures(evidence: PictureEvidence) -> Any | None:
    """Pictures that it gets wrong, the most certain mistakes first."""
    found = evidence.evaluation.found
    wrong = np.flatnonzero(~found.is_right_N)
    if not len(wrong):
        return None
    ranked = wrong[np.argsort(-found.probabilities_NK[wrong].max(axis=1), kind="stable")]
    return _gallery(evidence, ranked[:NUM_PICTURES].tolist())


def examples(evidence: PictureEvidence) -> Any:
    """Pictures drawn by lot from every class, with what it says."""
    rng = np.random.default_rng(42)
    found = evidence.evaluation.found
    chosen: list[int] = []
    for n in range(len(found.class_names)):
        own = np.flatnonzero(found.truth_N == n)
        chosen += sorted(rng.choice(own, min(COLUMNS, len(own)), replace=False).tolist())
    return _gallery(evidence, chosen)


def uncertain_pictures(evidence: PictureEvidence) -> Any:
    """Pictures about which it is least certain."""
    confidence = evidence.evaluation.found.probabilities_NK.max(axis=1)
    return _gallery(evidence, np.argsort(confidence, kind="stable")[:COLUMNS].tolist())


def _gallery(evidence: PictureEvidence, positions: Sequence[int]) -> Any:
    found = evidence.evaluation.found
    figure, axes = picture_grid((len(positions) + COLUMNS - 1) // COLUMNS, COLUMNS, 1.75)
    for entry, position in zip(axes.flat, positions, strict=False):
        entry.imshow(evidence.picture(position), cmap="gray", interpolation="bilinear")
        truth, predicted = found.truth_N[position], found.predicted_N[position]
        says = f"{found.class_names[predicted]} {found.probabilities_NK[position].max():.0%}"
        title = says if truth == predicted else f"{says}\nis {found.class_names[truth]}"
        entry.set_title(title, fontsize=7.5, color=RIGHT if truth == predicted else INVENTED)
    return figure


def augmentation(evidence: PictureEvidence) -> Any | None:
    """Accuracy and time with and without test-time augmentation."""
    with_tta = evidence.evaluation.tta_found
    if with_tta is None:
        return None
    figure, (left, right) = new_figure(7.5, 3.4, 1, 2)
    both: list[Classification] = [evidence.evaluation.found, with_tta]
    scores = [float(found.is_right_N.mean()) for found in both]
    seconds = [evidence.evaluation.seconds, evidence.evaluation.tta_seconds]
    times = [1000 * value / len(evidence.indices) for value in seconds]
    panels = ((left, scores, "%.3f", "accuracy"), (right, times, "%.1f ms", "ms per picture"))
    for axes, values, text, label in panels:
        bars = axes.bar(["without", "with"], values, color=[SERIES[0], SERIES[1]], width=0.6)
        axes.bar_label(bars, fmt=text, padding=3, color=INK)
        axes.set(ylabel=label, ylim=(0, max(values) * 1.15))
        axes.grid(axis="x", visible=False)
    return figure
