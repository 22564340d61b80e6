"""Charts of patients: Dice with intervals, spread, volumes, lesions, augmentation at test time, other data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.audit.evidence import SegmentationEvidence
from training.audit.style import FAINT, INK, SERIES, new_figure
from training.evaluate.patient import CaseEvaluation
from training.metrics import bootstrap_ci95


def dice_bars(evidence: SegmentationEvidence) -> Any:
    """Dice of each patient, and the mean of each set with its interval."""
    groups = list(evidence.sets())
    count = sum(len(group) for _, group in groups)
    figure, axes = new_figure(9.0, 1.4 + 0.3 * count)
    position, ticks = 0.0, []
    for colour, (name, group) in zip(SERIES, groups, strict=False):
        ranked = sorted(group, key=lambda entry: entry.result.dice)
        places = np.arange(position, position + len(ranked))
        axes.barh(places, [entry.result.dice for entry in ranked], color=colour, height=0.72, label=name)
        values = [entry.result.dice for entry in ranked]
        low, high = bootstrap_ci95(values)
        axes.fill_betweenx([places[0] - 0.5, places[-1] + 0.5], low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot([np.mean(values)] * 2, [places[0] - 0.5, places[-1] + 0.5], color=INK, linewidth=1.2)
        for place, value in zip(places, values, strict=True):
            axes.text(0.008, place, f"{value:.3f}", va="center", color="w", fontsize=8, fontweight="bold")
        ticks += [(place, entry.result.name) for place, entry in zip(places, ranked, strict=True)]
        position += len(ranked) + 1
    axes.set_yticks([place for place, _ in ticks], labels=[name for _, name in ticks], fontsize=7.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("Dice" if len(evidence.regions) == 1 else "mean Dice of WT, TC and ET")
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper right", ncols=len(groups))
    return figure


def box_plots(evidence: SegmentationEvidence) -> Any:
    """Dice and IoU over patients, per region and class."""
    results = [entry.result for entry in evidence.evaluation.cases]
    names = [*results[0].regions, *results[0].classes]
    figure, axes = new_figure(4.5 + 0.75 * len(names), 4.2, 1, 2, sharey=True)
    for entry, figure_name in zip(axes, ("dice", "iou"), strict=True):
        values = [[getattr((r.regions | r.classes)[name], figure_name) for r in results] for name in names]
        drawn = entry.boxplot(values, widths=0.55, patch_artist=True, showfliers=False, medianprops={"color": INK})
        for box, colour in zip(drawn["boxes"], _cycle(len(names)), strict=True):
            box.set(facecolor=colour, alpha=0.35, edgecolor=colour)
        rng = np.random.default_rng(0)
        for n, (column, colour) in enumerate(zip(values, _cycle(len(names)), strict=True), start=1):
            places = n + rng.uniform(-0.14, 0.14, len(column))
            entry.scatter(places, column, s=16, color=colour, edgecolor="white", linewidth=0.5, zorder=3)
        entry.set_xticks(range(1, len(names) + 1), labels=[name.replace(" ", "\n") for name in names])
        entry.set_title({"dice": "Dice", "iou": "IoU"}[figure_name])
        entry.set_ylim(max(0.0, min(map(min, values)) - 0.05) if figure_name == "iou" else None, 1.02)
        entry.grid(axis="x", visible=False)
    return figure


def _cycle(count: int) -> list[str]:
    return [SERIES[n % len(SERIES)] for n in range(count)]


def volumes(evidence: SegmentationEvidence) -> Any:
    """Predicted against true volume, and their difference against their mean (Bland and Altman 1986)."""
    figure, (left, right) = new_figure(9.0, 4.2, 1, 2)
    differences: list[float] = []
    for colour, (name, group) in zip(SERIES, evidence.sets(), strict=False):
        truth = np.array([entry.result.regions["WT"].truth_ml for entry in group])
        found = np.array([entry.result.regions["WT"].predicted_ml for entry in group])
        left.scatter(truth, found, color=colour, label=name, s=34, edgecolor="white", zorder=3)
        right.scatter((truth + found) / 2, found - truth, color=colour, s=34, edgecolor="white", zorder=3)
        differences += (found - truth).tolist()
    top = max(left.get_xlim()[1], left.get_ylim()[1])
    left.plot([0, top], [0, top], color=FAINT, linewidth=1, linestyle="--", zorder=1)
    left.set(xlim=(0, top), ylim=(0, top), xlabel="true volume, ml", ylabel="predicted volume, ml")
    left.set_title("Whole tumour volume")
    left.legend(loc="upper left")
    mean, spread = float(np.mean(differences)), float(np.std(differences))
    for value, text in ((mean, "mean"), (mean - 1.96 * spread, "-1.96 SD"), (mean + 1.96 * spread, "+1.96 SD")):
        right.axhline(value, color=INK, linewidth=1, linestyle="-" if text == "mean" else "--")
        right.text(1.0, value, f" {text} {value:+.1f}", transform=right.get_yaxis_transform(), fontsize=8, va="center")
    right.set(xlabel="mean of both, ml", ylabel="predicted - true, ml")
    right.set_title("Bland-Altman")
    return figure


def sizes(evidence: SegmentationEvidence) -> Any:
    """Dice against the size of what is to be found, and which lesions are found."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure, (left, right) = new_figure(9.0, 4.2, 1, 2)
    for colour, region in zip(SERIES, evidence.regions, strict=False):
        pairs = [
            (entry.result.regions[region].truth_ml, entry.result.regions[region].dice)
            for entry in evidence.evaluation.cases
            if entry.result.regions[region].truth_ml > 0
        ]
        if pairs:  # patients without enhancing tumour are common
            left.scatter(*zip(*pairs, strict=True), color=colour, label=region, s=30, edgecolor="white", zorder=3)
        lesions = [lesion for entry in evidence.evaluation.cases for lesion in entry.result.lesions.get(region, ())]
        for is_found, marker in ((True, "o"), (False, "X")):
            own = [(entry["volume_ml"], entry["dice"]) for entry in lesions if entry["is_found"] is is_found]
            if own:
                label = f"{region} {'found' if is_found else 'missed'} ({len(own)})"
                right.scatter(*zip(*own, strict=True), color=colour, marker=marker, label=label, s=34, zorder=3)
    for axes, title in ((left, "Region of a patient"), (right, "Single lesion")):
        axes.set(xscale="log", xlabel="true volume, ml", ylabel="Dice", ylim=(-0.03, 1.03))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda volume, _: f"{volume:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(title)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", fontsize=8)
    if not right.collections:
        right.text(0.5, 0.5, "no set with known spacing", transform=right.transAxes, ha="center", color=FAINT)
    return figure


def augmentation(evidence: SegmentationEvidence) -> Any | None:
    """Dice with and without test-time augmentation, patient by patient, and the time that both take."""
    with_tta = evidence.evaluation.tta_cases
    if not with_tta:
        return None
    figure, (left, right) = new_figure(9.0, 4.0, 1, 2, width_ratios=[3, 2])
    for colour, (name, group) in zip(SERIES, evidence.sets(), strict=False):
        others = {entry.result.name: entry.result.dice for entry in with_tta}
        pairs = [(entry.result.dice, others[entry.result.name]) for entry in group]
        left.scatter(*zip(*pairs, strict=True), color=colour, label=name, s=34, edgecolor="white", zorder=3)
    low = min(left.get_xlim()[0], left.get_ylim()[0])
    left.plot([low, 1], [low, 1], color=FAINT, linewidth=1, linestyle="--")
    left.set(xlim=(low, 1), ylim=(low, 1), xlabel="Dice without", ylabel="Dice with augmentation")
    left.legend(loc="upper left")
    times = [1000 * _seconds_per_slice(group) for group in (evidence.evaluation.cases, with_tta)]
    bars = right.bar(["without", "with"], times, color=[SERIES[0], SERIES[1]], width=0.6)
    right.bar_label(bars, fmt="%.0f ms", padding=3)
    right.set(ylabel="ms per slice", title=f"cost: x{times[1] / times[0]:.2f}")
    right.grid(axis="x", visible=False)
    return figure


def _seconds_per_slice(cases: Sequence[CaseEvaluation]) -> float:
    return sum(entry.seconds for entry in cases) / sum(entry.num_slices for entry in cases)


def external(evidence: SegmentationEvidence) -> Any | None:
    """Dice on the part that was asked for and on data sets that training never saw."""
    if evidence.external is None:
        return None
    sets = [(f"{name}\n{evidence.evaluation.part}", group) for name, group in evidence.sets()]
    name = evidence.external.cases[0].result.dataset
    sets.append((f"{name}\nexternal", list(evidence.external.cases)))
    figure, axes = new_figure(7.0, 4.0)
    rng = np.random.default_rng(0)
    for n, (label, group) in enumerate(sets):
        values = [entry.result.dice for entry in group]
        colour = SERIES[1] if "external" in label else SERIES[0]
        axes.scatter(n + rng.uniform(-0.1, 0.1, len(values)), values, color=colour, s=26, edgecolor="white", zorder=3)
        low, high = bootstrap_ci95(values)
        mean = float(np.mean(values))
        axes.errorbar(n + 0.25, mean, yerr=[[mean - low], [high - mean]], color=INK, marker="D", capsize=5)
        axes.text(n + 0.31, mean, f"{mean:.3f}", va="center", fontsize=9)
    axes.set_xticks(range(len(sets)), labels=[f"{label}\nn={len(group)}" for label, group in sets])
    axes.set(ylabel="Dice", ylim=(-0.02, 1.02), xlim=(-0.5, len(sets) - 0.3))
    axes.grid(axis="x", visible=False)
    return figure
