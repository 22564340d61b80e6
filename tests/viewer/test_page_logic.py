"""Decisions of the page that need no browser: texts, figures, states, what may be uploaded."""

from __future__ import annotations

from dicom_gateway.journal.records import SeriesState
from tests.viewer.javascript import evaluate, needs_node

pytestmark = needs_node


def test_text_has_its_values_and_the_plural_of_its_number() -> None:
    said = evaluate("""
      import { t } from "js/i18n.js";
      say([1, 2, 0, 4000].map((n) => t("upload.more", { n })).concat(t("live.of", { n: 3, total: 1155 })));
    """)
    assert said == ["and one more", "and 2 more", "and 0 more", "and 4,000 more", "3 of 1,155"]


def test_language_is_the_first_wanted_one_that_there_is() -> None:
    said = evaluate("""
      import { chooseLanguage } from "js/i18n.js";
      say([["de-AT", "en-GB"], ["fr", "de"], ["fr"], []].map((wanted) => chooseLanguage(wanted, ["en", "de"])));
    """)
    assert said == ["de", "de", "en", "en"]


def test_text_that_is_missing_is_told_to_the_console_and_shows_its_key() -> None:
    shown, problems = evaluate("""
      import { hasText, t } from "js/i18n.js";
      say([[t("no.such_text"), hasText("no.such_text"), hasText("live"), hasText("upload.more")], problems]);
    """)
    assert shown == ["no.such_text", False, False, True]
    assert problems == ['There is no text for "no.such_text".']


def test_figures_are_written_with_their_unit() -> None:
    said = evaluate("""
      import { formatBytes, formatMs, formatSeconds, formatShare, formatVolume } from "js/format.js";
      say([formatMs(null), formatMs(3.14), formatMs(38.4), formatMs(1240), formatSeconds(185.2), formatVolume(52.94),
           formatBytes(1), formatBytes(999), formatBytes(2400), formatBytes(20_300_000), formatBytes(2e9),
           formatShare(0.914)]);
    """)
    assert said == [
        "none",
        "3.1 ms",
        "38 ms",
        "1.24 s",
        "3 min 5 s",
        "52.9 ml",
        "one byte",
        "999 bytes",
        "2 kB",
        "20.3 MB",
        "2.0 GB",
        "91 %",
    ]


def test_time_until_something_is_counted_in_hours_up_to_two_days() -> None:
    said = evaluate("""
      import { formatFromNow } from "js/format.js";
      const now = Date.now() / 1000;
      say([-125, 5500, 86390, 3 * 86400].map((away) => formatFromNow(now + away)));
    """)
    assert said == ["2 minutes ago", "in 2 hours", "in 24 hours", "in 3 days"]


def test_every_state_of_the_journal_has_a_word_a_meaning_and_a_place_in_the_filters() -> None:
    states = [state.value for state in SeriesState]
    said = evaluate(f"""
      import {{ groupOf, lookOf, meaningOf, wordOf }} from "js/live/states.js";
      say({states}.map((state) => [wordOf(state), meaningOf(state), groupOf(state), lookOf(state)]));
    """)
    for state, (word, meaning, group, look) in zip(states, said, strict=True):
        assert word and word != state and meaning, state
        assert group in {"progress", "attention", "done"}
        assert (group == "attention") == (look in {"warn", "bad"}), state
    assert len({word for word, *_ in said}) == len(states)


def test_state_of_a_newer_gateway_is_shown_as_it_is_named() -> None:
    assert evaluate("""
      import { groupOf, wordOf } from "js/live/states.js";
      say([wordOf("teleported"), groupOf("teleported")]);
    """) == ["teleported", "done"]


CHOSEN = """
  import { kindOf, problemOf, summarise, withoutLitter } from "js/diagnose/selection.js";
  const chosen = (...named) => named.map(([path, size]) => ({ path, file: { size } }));
"""


def test_files_are_told_apart_by_their_names() -> None:
    said = evaluate(
        CHOSEN
        + """
      say(["IM0001", "a/b.dcm", "1.2.840.1", "head.nii.gz", "HEAD.NII", "study.ZIP", "x.jpeg", "x.pdf"].map(kindOf));
    """
    )
    assert said == ["dicom", "dicom", "dicom", "nifti", "nifti", "zip", "picture", "other"]


def test_litter_of_file_managers_is_left_out() -> None:
    said = evaluate(
        CHOSEN
        + """
      const all = ["s/.DS_Store", "s/IM1", "__MACOSX/s/._IM1", "Thumbs.db", "s/.git/HEAD", "s/DICOMDIR"];
      say(withoutLitter(chosen(...all.map((path) => [path, 1]))).map(({ path }) => path));
    """
    )
    assert said == ["s/IM1", "s/DICOMDIR"]


def test_what_the_node_would_refuse_is_said_before_it_is_sent() -> None:
    said = evaluate(
        CHOSEN
        + """
      const limits = { upload_bytes: 1_000_000, upload_files: 2 };
      say([chosen(), chosen(["a", 0]), chosen(["a", 1], ["b", 1], ["c", 1]), chosen(["a", 2_000_000]),
           chosen(["a.pdf", 1]), chosen(["a.pdf", 1], ["b", 1]), chosen(["a", 1_000_000])]
        .map((files) => problemOf(files, limits)?.text ?? null));
    """
    )
    assert said == [
        "There is no file in what you chose.",
        "What you chose is empty.",
        "3 files are more than this node takes at once (2).",
        "2.0 MB is more than this node takes at once (1.0 MB).",
        "None of these files can be read as an image.",
        None,
        None,
    ]


def test_problem_names_what_to_do() -> None:
    said = evaluate(CHOSEN + "say(problemOf(chosen(), {}));")
    assert said["detail"] == "Choose the folder that holds the images."


def test_choice_is_summed_up_by_kind_most_frequent_first() -> None:
    said = evaluate(CHOSEN + 'say(summarise(chosen(["x.png", 5], ["a", 1], ["b", 2])));')
    assert said == {"n": 3, "bytes": 8, "kinds": [["dicom", 2], ["picture", 1]]}
