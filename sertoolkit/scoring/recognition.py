"""Character and word error rates of a recogniser, over the corpus and by speaker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import jiwer

from sertoolkit.errors import DataError, report_faults


def score_recognition(
    refs: Mapping[str, str], hyps: Mapping[str, str], *, utt2spk: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Error rates over all utterances together: errors divided by the length of all references.

    It is not the mean of rates of single utterances, in which a short utterance would weigh like a long one.

    Args:
        refs: what was said, by utterance
        hyps: what was recognised, by utterance; may be empty texts
        utt2spk: speaker of each utterance; adds the same counts by speaker

    Returns:
        ``wer`` and ``cer`` (0 is best; above 1 where much is inserted), ``num_utts``, ``words`` and
        ``characters`` (each ``reference hits substitutions deletions insertions``), and ``speakers``:
        the same by speaker

    Raises:
        DataError: if there is nothing to score, a reference is empty, a hypothesis or a speaker is missing,
            or a hypothesis has no reference

    """
    faults = [f"utterance {utt_id}: no hypothesis; decode it too" for utt_id in refs if utt_id not in hyps]
    faults += [f"utterance {utt_id}: hypothesis without a reference" for utt_id in hyps if utt_id not in refs]
    faults += [f"utterance {utt_id}: empty reference" for utt_id, text in refs.items() if not text.strip()]
    if utt2spk is not None:
        faults += [f"utterance {utt_id}: no speaker" for utt_id in refs if utt_id not in utt2spk]
    report_faults("transcripts to score", faults, DataError)
    if not refs:
        raise DataError("transcripts to score: no utterance at all")
    scores = _score(refs, hyps, refs)
    if utt2spk is not None:
        by_speaker = defaultdict(list)
        for utt_id in refs:
            by_speaker[utt2spk[utt_id]].append(utt_id)
        scores["speakers"] = {spk_id: _score(refs, hyps, by_speaker[spk_id]) for spk_id in sorted(by_speaker)}
    return scores


def _score(refs: Mapping[str, str], hyps: Mapping[str, str], utt_ids: Iterable[str]) -> dict[str, Any]:
    # Blanks at the ends and in rows are no characters of the language.
    ref_texts = [" ".join(refs[utt_id].split()) for utt_id in utt_ids]
    hyp_texts = [" ".join(hyps[utt_id].split()) for utt_id in utt_ids]
    words = jiwer.process_words(ref_texts, hyp_texts)
    characters = jiwer.process_characters(ref_texts, hyp_texts)
    return {
        "num_utts": len(ref_texts),
        "wer": words.wer,
        "cer": characters.cer,
        "words": _counts(words),
        "characters": _counts(characters),
    }


def _counts(output: jiwer.WordOutput | jiwer.CharacterOutput) -> dict[str, int]:
    return {
        "reference": output.hits + output.substitutions + output.deletions,
        "hits": output.hits,
        "substitutions": output.substitutions,
        "deletions": output.deletions,
        "insertions": output.insertions,
    }
