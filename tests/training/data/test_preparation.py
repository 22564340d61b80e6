"""Caches are made once, follow the content, and survive a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)

from neuroscan_core.pipeline.normalise import slice_scale, volume_statistics
from training.cli.prepare import add_arguments, run
from training.data.cache import cache_folder, cache_key, load_cache, open_cache
from training.data.cases import find_cases
from training.data.errors import DataError, NoCasesError, StaleCacheError, UnreadableCaseError
from training.data.preparation import IMAGES, INDEX, JOURNAL
from training.data.splits import load_split

from . import layouts

NUM_CASES = 4
# Dies while it fills the third case: half of its slices are wrong, its line in the journal is torn.
KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from training.data import preparation
from training.data.cache import open_cache
from training.data.cases import find_cases
fill = preparation._fill
def fill_and_die(case, view, images, labels, start, count):
    if start < 12:
        return fill(case, view, images, labels, start, count)
    images[start : start + 3] = 7
    images.flush()
    journal = Path(images.filename).with_name(preparation.JOURNAL)
    with journal.open("a") as stream:
        stream.write('{"case": {"name": "Br')
    os.kill(os.getpid(), signal.SIGKILL)
preparation._fill = fill_and_die
preparation.SLICES_PER_FLUSH = 1
open_cache("multimodal", find_cases(Path(sys.argv[1])), Path(sys.argv[2]))
"""


@pytest.fixture
def data(tmp_path) -> Path:
    for number in range(NUM_CASES):
        layouts.write_brats(tmp_path / "data", f"Brats18_X_{number}_1", seed=number)
    return tmp_path / "data"


def test_a_killed_preparation_goes_on_with_the_case_that_was_under_way(data, tmp_path):
    cases, root = find_cases(data), tmp_path / "killed"
    process = subprocess.run([sys.executable, "-c", KILLED, str(data), str(root)], timeout=60, check=False)
    assert process.returncode == -signal.SIGKILL
    folder = cache_folder("multimodal", cases, root)
    assert not (folder / INDEX).exists()
    read = []
    resumed = open_cache("multimodal", cases, root, lambda name, done, total: read.append((name, done, total)))
    whole = open_cache("multimodal", cases, tmp_path / "whole")
    np.testing.assert_array_equal(resumed.images_SCHW, whole.images_SCHW)
    np.testing.assert_array_equal(resumed.labels_SHW, whole.labels_SHW)
    assert resumed.cases == whole.cases
    assert read[-1] == ("", NUM_CASES, NUM_CASES)


def test_finished_cases_are_not_read_again(data, tmp_path, monkeypatch):
    from training.data import preparation

    cases, root = find_cases(data), tmp_path / "killed"
    subprocess.run([sys.executable, "-c", KILLED, str(data), str(root)], timeout=60, check=False)
    journal = cache_folder("multimodal", cases, root) / JOURNAL
    assert len(journal.read_text().splitlines()) == 3  # two whole lines and a torn one
    read = []
    original = preparation.read_case
    monkeypatch.setattr(
        preparation, "read_case", lambda case, channels: read.append(case.name) or original(case, channels)
    )
    open_cache("multimodal", cases, root)
    assert read == ["Brats18_X_2_1", "Brats18_X_3_1"]


def test_a_case_that_cannot_be_read_leaves_the_others_prepared(data, tmp_path):
    good = (data / "brats" / "Brats18_X_2_1" / "Brats18_X_2_1_t2.nii.gz").read_bytes()
    broken = data / "brats" / "Brats18_X_2_1" / "Brats18_X_2_1_t2.nii.gz"
    layouts.save_nifti(broken, np.zeros((24, 20, 7), np.int16))
    with pytest.raises(UnreadableCaseError, match="T2"):
        open_cache("multimodal", find_cases(data), tmp_path / "cache")
    broken.write_bytes(good)
    assert len(open_cache("multimodal", find_cases(data), tmp_path / "cache").cases) == NUM_CASES


def test_statistics_are_those_of_the_nodes_functions(data, tmp_path):
    flair = open_cache("flair", find_cases(data), tmp_path / "cache")
    assert flair.images_SCHW.shape == (24, 1, 256, 256) and flair.images_SCHW.dtype == np.uint16
    assert [slice_scale(plane[0]) for plane in flair.images_SCHW] == flair.scales_S.tolist()
    cache = open_cache("multimodal", find_cases(data), tmp_path / "cache")
    case = cache.cases[1]
    for channel in range(4):
        volume = cache.images_SCHW[case.start : case.stop, channel]
        assert volume_statistics(volume) == pytest.approx((case.mean[channel], case.std[channel]))
    assert cache.label_counts_SL.sum(axis=1).tolist() == [256 * 256] * 24
    np.testing.assert_array_equal(cache.foreground_S, np.count_nonzero(cache.images_SCHW[:, 0], axis=(1, 2)))
    normalised = cache.normalised(case, [0, 2])
    assert normalised.shape == (2, 4, 256, 256)
    assert not isinstance(cache.images_SCHW, np.ndarray) or not cache.images_SCHW.flags.writeable


def test_the_key_follows_content_view_and_names_but_not_the_place(data, tmp_path):
    cases = find_cases(data)
    key = cache_key("flair", cases)
    assert key != cache_key("multimodal", cases) and key != cache_key("flair", cases[1:])
    moved = tmp_path / "elsewhere"
    data.rename(moved)
    assert cache_key("flair", find_cases(moved), tmp_path / "cache") == key
    layouts.write_brats(moved, "Brats18_X_0_1", seed=99)
    assert cache_key("flair", find_cases(moved), tmp_path / "cache") != key


def test_arrays_that_do_not_fit_their_index_are_refused(data, tmp_path):
    cache = open_cache("flair", find_cases(data), tmp_path / "cache")
    np.save(cache.folder / IMAGES, np.zeros((3, 1, 256, 256), np.uint16))
    with pytest.raises(StaleCacheError, match="3 slices for 24"):
        load_cache(cache.folder)


def test_unknown_views_and_empty_data_are_said(data, tmp_path):
    with pytest.raises(DataError, match="no view 'ct'"):
        open_cache("ct", find_cases(data), tmp_path)
    with pytest.raises(NoCasesError, match="there is no folder"):
        find_cases(tmp_path / "absent")
    with pytest.raises(NoCasesError, match="none of 4 cases has grey"):
        open_cache("pictures", find_cases(data), tmp_path)


def arguments_of(*argv: str):
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(argv)


def test_prepare_makes_every_view_and_a_new_split(data, tmp_path, capsys):
    common = ["--data", str(data), "--cache", str(tmp_path / "cache")]
    assert run(arguments_of(*common)) == 0
    shown = capsys.readouterr().out
    assert "flair" in shown and "multimodal" in shown and "pictures" not in shown
    split_file = tmp_path / "mine.json"
    assert run(arguments_of(*common, "--view", "flair", "--new-split", "--split", str(split_file))) == 0
    split = load_split(split_file)
    assert split.name == "mine"
    assert sorted(name for names in split.parts.values() for name in names) == [c.name for c in find_cases(data)]


def test_a_new_split_needs_a_file_to_go_to(data, tmp_path):
    from neuroscan_core.domain.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="--split FILE"):
        run(arguments_of("--data", str(data), "--cache", str(tmp_path), "--new-split"))


def test_a_split_without_its_view_is_not_passed_over(data, tmp_path):
    from neuroscan_core.domain.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="--split belongs to one view"):
        run(arguments_of("--data", str(data), "--cache", str(tmp_path), "--split", "mine.json"))
