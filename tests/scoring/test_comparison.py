"""Families of tests and their verdicts."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sertoolkit.config import from_dict
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.protocol import Protocol, ResolvedProtocol, resolve
from sertoolkit.errors import ConfigError
from sertoolkit.scoring.comparison import (
    claim_lines,
    compare_systems,
    format_tests,
    verdict_notes,
    verdict_rows,
)


def protocol_of(num_speakers: int, classes: tuple[str, ...] = ("anger", "sadness")) -> ResolvedProtocol:
    """Leave-one-speaker-out folds; each speaker has 20 utterances of each class."""
    utt2emo = {
        f"s{speaker:02d}-{label}{n:02d}": label
        for speaker in range(num_speakers)
        for label in classes
        for n in range(20)
    }
    data_dir = DataDir(
        wav=dict.fromkeys(utt2emo, "a.wav"), utt2spk={u: u[:3] for u in utt2emo}, utt2emo=utt2emo
    )
    protocol = {"name": "two", "version": 1, "classes": list(classes)}
    labels = {"labels": {name: name for name in classes}}
    return resolve(from_dict(Protocol, protocol | labels), data_dir)


def counts_of(num_right: list[int]) -> dict[str, dict[int, np.ndarray]]:
    """Confusion counts of one run: right answers of 20 in each class, by fold."""
    return {
        f"fold-{fold:02d}": {1: np.array([[right, 20 - right], [20 - right, right]])}
        for fold, right in enumerate(num_right, start=1)
    }


BASE = [10, 11, 12, 9, 10, 13, 8, 11, 10, 12]
UP = [value + 2 + fold % 3 for fold, value in enumerate(BASE)]
DOWN = [value - 2 - fold % 3 for fold, value in enumerate(BASE)]
MIXED = [value + (1 if fold % 2 else -1) * (fold % 4 + 1) for fold, value in enumerate(BASE)]


def test_every_system_is_tested_against_the_baseline_with_a_plain_verdict() -> None:
    counts = {"baseline-96": counts_of(BASE), "a": counts_of(UP), "b": counts_of(DOWN), "c": counts_of(MIXED)}

    tests = compare_systems(counts, protocol_of(10))

    rows = {row[0]: row for row in verdict_rows(tests)[1:]}
    assert {name: row[-1] for name, row in rows.items()} == {"a": "better", "b": "worse", "c": "not shown"}
    assert rows["a"][3] == "10 of 10"
    record = tests["against_baseline"][0]
    assert record["difference"] == pytest.approx(np.mean([2 + fold % 3 for fold in range(10)]) / 20)
    assert record["wilcoxon_p"] == pytest.approx(2 / 2**10)
    assert record["wilcoxon_holm"] == pytest.approx(3 * 2 / 2**10)
    low, high = record["interval"]
    assert 0 < low < record["difference"] < high


def skewed(right: int, far: int) -> np.ndarray:
    """Counts of 20 utterances of each of two classes: right answers in both; ``far`` times as many angry ones."""
    return np.array([[far * right, far * (20 - right)], [10, 10]])


def test_a_claim_is_tested_by_the_score_that_the_paper_names_and_others_by_the_chosen_one() -> None:
    # the larger class gets better, the smaller one stays: accuracy gains more than UAR
    counts = {
        name: {f"fold-{n:02d}": {1: skewed(right, 9)} for n, right in enumerate(rights, start=1)}
        for name, rights in (("baseline-96", BASE), ("progressive-2", UP), ("rnn-2", MIXED))
    }

    by_uar, by_accuracy = (
        compare_systems(counts, protocol_of(10), metric=metric) for metric in ("uar", "accuracy")
    )

    gains = [
        {r["title"].partition(" by ")[0]: r for r in tests["further"] + tests["against_baseline"]}
        for tests in (by_uar, by_accuracy)
    ]
    title = "progressive-2 > rnn-2"
    assert gains[0][title]["unit"] == gains[1][title]["unit"] == "accuracy"
    assert gains[0][title]["difference"] == pytest.approx(gains[1][title]["difference"])
    (other,) = [claim for claim in by_uar["claims"] if claim["text"].startswith("a GRU on layer 2")]
    assert other["comparisons"] == ["rnn-2 > baseline-96"]
    units = [{r["title"]: r["unit"] for r in tests["against_baseline"]} for tests in (by_uar, by_accuracy)]
    assert [unit["rnn-2 > baseline-96"] for unit in units] == ["UAR", "accuracy"]
    # by accuracy the comparison of a claim with the baseline is that of the table, and has one corrected p
    titles = [r["title"] for r in by_accuracy["further"]]
    assert titles == ["progressive-2 > baseline-96 by macro F1", "progressive-2 > rnn-2"]
    lines = [line for _, sentences in claim_lines(by_uar) for line in sentences]
    assert all(re.search(r" \([+-]0\.\d{3} (UAR|accuracy|macro F1) \[", line) for line in lines)


def test_a_verdict_of_five_folds_names_what_is_possible() -> None:
    sessions = compare_systems({"baseline-96": counts_of(BASE[:5]), "a": counts_of(UP[:5])}, protocol_of(5))

    assert sessions["num_folds"] == 5
    assert sessions["against_baseline"][0]["interval"] is None
    assert verdict_rows(sessions)[1][-1] == "cannot be shown by 5 folds (corrected p at least 0.062)"
    assert any("over 5 folds is never below 0.062" in note for note in verdict_notes(sessions))


def test_too_few_folds_are_called_that_and_not_insignificant() -> None:
    counts = {
        "baseline-96": counts_of(BASE[:6]),
        "a": counts_of(UP[:6]),
        "b": counts_of(MIXED[:6]),
    }

    tests = compare_systems(counts, protocol_of(6))

    assert [record["verdict"] for record in tests["against_baseline"]] == ["cannot be shown"] * 2
    assert tests["against_baseline"][0]["smallest_holm"] == pytest.approx(2 * 2 / 2**6)
    assert any("More folds are needed" in note for note in verdict_notes(tests))


def test_six_folds_are_enough_for_a_single_comparison() -> None:
    counts = {"baseline-96": counts_of(BASE[:6]), "a": counts_of(UP[:6])}

    tests = compare_systems(counts, protocol_of(6))

    assert tests["against_baseline"][0]["verdict"] == "shown"
    assert not any("More folds" in note for note in verdict_notes(tests))


def test_rows_of_chance_are_no_systems_to_test() -> None:
    counts = {"random": counts_of(BASE), "most-frequent": counts_of(BASE), "a": counts_of(UP)}

    tests = compare_systems(counts, protocol_of(10))

    assert (tests["baseline"], tests["against_baseline"], tests["claims"]) == (None, [], [])
    assert format_tests(tests) == ""


def test_any_system_can_be_the_baseline_and_an_unknown_one_is_an_error() -> None:
    counts = {"baseline-96": counts_of(BASE), "a": counts_of(UP)}

    tests = compare_systems(counts, protocol_of(10), baseline="a")

    assert [record["title"] for record in tests["against_baseline"]] == ["baseline-96 > a"]
    with pytest.raises(ConfigError, match="did you mean 'baseline-96'"):
        compare_systems(counts, protocol_of(10), baseline="baseline96")


def test_claims_hold_only_if_all_their_comparisons_do() -> None:
    counts = {"baseline-96": counts_of(BASE), "mp-2": counts_of(MIXED), "rnn-2": counts_of(UP)}

    tests = compare_systems(counts, protocol_of(10))

    verdicts = {claim["text"]: claim["verdict"] for claim in tests["claims"]}
    assert verdicts == {
        "a GRU on layer 2 beats the baseline (paper: p <= 0.0007)": "shown",
        "a GRU on a layer beats the mean of that layer": ("shown (1 of its 3 comparisons can be made here)"),
        "layer 2 beats the baseline in all variants": (
            "shown for 1 of 2 comparisons (2 of its 3 comparisons can be made here)"
        ),
    }


def test_a_claim_whose_opposite_is_shown_is_contradicted() -> None:
    counts = {"baseline-96": counts_of(BASE), "mp-3": counts_of(DOWN)}

    tests = compare_systems(counts, protocol_of(10))

    (title, (sentence,)) = claim_lines(tests)[0]
    assert title.endswith("contradicted")
    assert re.match(
        r"mp-3 is below baseline-96 by [\d.]+% \(-0\.1\d\d accuracy \[-0\.\d{3}, -0\.\d{3}\]\), Holm",
        sentence,
    )
    assert sentence.endswith("Holm-corrected p = 0.002: the opposite is shown")


def confused(pair: float, easy: float) -> np.ndarray:
    """Counts of 100 utterances a class: anger/happiness and neutral/sadness taken for each other so often."""
    a, n = round(100 * pair), round(100 * easy)
    return np.array([[100 - a, a, 0, 0], [a, 100 - a, 0, 0], [0, 0, 100 - n, n], [0, 0, n, 100 - n]])


@pytest.mark.parametrize(("pair", "easy", "verdict"), [(0.32, 0.16, "shown"), (0.16, 0.31, "not shown")])
def test_a_pair_is_hard_if_it_is_confused_more_than_every_easy_pair(
    pair: float, easy: float, verdict: str
) -> None:
    resolved = protocol_of(10, ("anger", "happiness", "neutral", "sadness"))
    counts = {"progressive-2": {name: {1: confused(pair, easy)} for name in resolved.folds}}

    tests = compare_systems(counts, resolved)

    (record,) = (r for r in tests["further"] if "anger/happiness" in r["title"])
    assert record["verdict"] == verdict
    assert f"for each other in {pair:.0%} of cases" in record["sentence"]
    assert record["sentence"].endswith(f"the worst easy pair of each test set in {easy:.0%}")
    assert "contradicted" not in str(tests["claims"])  # the largest of several is above any by chance, too


def test_a_comparison_stands_in_one_family_and_has_one_corrected_p() -> None:
    counts = {
        name: counts_of(right)
        for name, right in (("baseline-96", BASE), ("mp-2", MIXED), ("rnn-2", UP), ("progressive-2", UP))
    }

    tests = compare_systems(counts, protocol_of(10))

    assert [r["title"] for r in tests["against_baseline"]] == [
        "mp-2 > baseline-96",
        "rnn-2 > baseline-96",
        "progressive-2 > baseline-96",
    ]
    assert [r["title"] for r in tests["further"]] == [
        "progressive-2 > baseline-96 by accuracy",
        "progressive-2 > baseline-96 by macro F1",
        "rnn-2 > mp-2",
        "progressive-2 > rnn-2 by accuracy",
    ]
    assert any("3 comparisons with the baseline, 4 more" in note for note in verdict_notes(tests))


def test_equal_systems_differ_by_nothing() -> None:
    tests = compare_systems({"baseline-96": counts_of(BASE), "a": counts_of(BASE)}, protocol_of(10))

    record = tests["against_baseline"][0]
    assert (record["difference"], record["num_better"], record["wilcoxon_p"]) == (0, 0, 1)
    assert (record["interval"], record["ttest_p"]) == ((0, 0), 1)


def test_the_share_of_the_test_set_is_that_of_the_protocol() -> None:
    tests = compare_systems({"baseline-96": counts_of(BASE), "a": counts_of(UP)}, protocol_of(10))

    assert tests["test_train_ratio"] == pytest.approx(1 / 8)  # one speaker tests, one validates, eight train


def test_a_single_fold_and_systems_that_differ_in_runs_are_compared() -> None:
    one = counts_of(BASE[:1])
    more = {"fold-01": {seed: table for seed in (1, 2, 3) for table in counts_of(UP[:1])["fold-01"].values()}}

    tests = compare_systems({"baseline-96": one, "a": more}, protocol_of(10))

    record = tests["against_baseline"][0]
    assert (record["verdict"], record["interval"], record["ttest_p"]) == ("cannot be shown", None, None)


def test_lines_fit_a_screen() -> None:
    names = ("baseline-96", "mp-1", "mp-3", "rnn-2", "progressive-1", "progressive-2")
    counts = {
        name: counts_of(right) for name, right in zip(names, (BASE, UP, MIXED, UP, DOWN, UP), strict=True)
    }

    text = format_tests(compare_systems(counts, protocol_of(10)))

    assert max(map(len, text.splitlines())) <= 120
