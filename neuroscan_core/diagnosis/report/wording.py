"""The report in words, from its content alone: no network, no language model, the same words for the same numbers."""

from __future__ import annotations

from typing import Any

Content = dict[str, Any]

_MEANING = {
    "plausible": "Nothing that was checked speaks against the result. That does not make it right.",
    "doubtful": "Some things that were checked speak against the result; each is named below.",
    "not usable": "The result must not be used; why is named below.",
}


def paragraphs(content: Content) -> list[tuple[str, str]]:
    """Headings with their text."""
    parts = [
        ("Images", _images(content["series"])),
        ("Finding", _finding(content)),
        ("Classifier", _triage(content["triage"])),
        ("Trust", _trust(content["verdict"])),
    ]
    return [(heading, text) for heading, text in parts if text]


def _images(series: Content | None) -> str:
    if series is None:
        return "No image can be used."
    if series["sequences_of_study"]:
        what = f"a study of {', '.join(series['sequences_of_study'])} on the grid of {series['sequence']}"
    else:
        what = f"a series that shows {series['sequence']}" if series["sequence"] else "images of an unknown sequence"
    text = f"{series['kind']}: {what}; "
    size = f"{series['columns']} x {series['rows']} pixels"
    if series["voxel_mm"] is None:
        return text + (f"{series['num_slices']} pictures of {size}" if series["num_slices"] > 1 else size) + "."
    gap, row, column = series["voxel_mm"]
    text += (
        f"{series['num_slices']} {series['plane']} slices of {size}, voxels of {column:.2f} x {row:.2f} x {gap:.2f} mm."
    )
    snr = series["quality"]["snr"]
    return text if snr is None else f"{text} The signal is {snr:.0f} times the noise."


def _finding(content: Content) -> str:
    if not content["results"]:
        return "Nothing was segmented."
    first = content["results"][0]
    by = f"{first['model']} {first['version']}"
    if first["is_empty"]:
        return f"{by} marks nothing as tumour. That it finds none does not show that there is none."
    sizes = "; ".join(f"{name} {value}" for name, value in first["summary"])
    text = f"{by} marks: {sizes}."
    location = first["location"]
    if location and "sentence" in location:
        text += f" {location['sentence']} Its centre lies in the {location['place']}. {location['about_place']}"
    return f"{text} {_others(content)}".strip()


def _others(content: Content) -> str:
    """Further models, and how far they agree."""
    sentences = []
    for one in content["results"][1:]:
        whole = next((m for m in one["composites"] if m["name"] == "WT"), one["labels"][0])
        size = "something" if whole["volume_ml"] is None else f"{whole['volume_ml']:.1f} ml"
        sentences.append(f"{one['model']} {one['version']} marks {'nothing' if one['is_empty'] else size}.")
    sentences += [f"Dice of {' and '.join(pair['models'])}: {pair['dice']:.2f}." for pair in content["agreement"]]
    views = [view["dice"] for view in content["results"][0]["views"]]
    if len(views) > 1:
        sentences.append(f"Mirrored views of the images agree with their mean by a Dice of {min(views):.2f} or more.")
    return " ".join(sentences)


def _triage(triage: Content | None) -> str:
    if triage is None:
        return ""
    ranked = sorted(triage["classes"], key=lambda one: -one["probability"])
    chances = ", ".join(f"{one['name']} {one['probability']:.2f}" for one in ranked)
    slices = "1 slice" if triage["num_slices"] == 1 else f"{triage['num_slices']} slices"
    return (
        f"{triage['model']} {triage['version']}, shown {slices}: {chances}. It knows these classes only and names one "
        "of them whatever it is shown."
    )


def _trust(verdict: Content | None) -> str:
    if verdict is None:
        return ""
    against = [check["sentence"] for check in verdict["checks"] if check["state"] != "ok"]
    return f"Verdict: {verdict['word']}. {_MEANING[verdict['word']]} {' '.join(against)}".strip()
