"""Token tables: round trips, refusals, damage."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from sertoolkit.errors import ConfigError, DataError
from sertoolkit.text.tokens import CharTokens, Tokens, load_tokens, make_tokens, tokens_from_state

TEXT = "THE CAT SAT ON A MAT WITH HER RED HAT AND DON'T ASK WHY IT RAINED ALL NIGHT OVER TOWN"


def sentences(num: int = 200, *, seed: int = 1) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(TEXT.split(), k=draw.randint(1, 7))) for _ in range(num)]


@pytest.fixture(
    params=[("char", None), ("bpe", 45), ("unigram", 35)], ids=lambda kind_and_size: kind_and_size[0]
)
def tokens(request: pytest.FixtureRequest) -> Tokens:
    return make_tokens(sentences(), *request.param)


def test_characters_are_sorted_behind_blank_and_space() -> None:
    assert make_tokens(["B A", "C'"], "char").symbols == ["<blank>", "<space>", "'", "A", "B", "C"]


def test_encoding_gives_the_places_in_the_table() -> None:
    assert make_tokens(["B A", "C'"], "char").encode("AB C'") == [3, 4, 1, 5, 2]


def test_text_survives_encoding_and_decoding(tokens: Tokens) -> None:
    for text in sentences(20, seed=2):
        assert tokens.decode(tokens.encode(text)) == text


def test_blank_is_number_zero_and_no_text_encodes_to_it(tokens: Tokens) -> None:
    assert tokens.symbols[0] == "<blank>"
    assert all(0 < i < tokens.size for text in sentences(20) for i in tokens.encode(text))


def test_decoding_leaves_out_blanks_and_spare_spaces() -> None:
    tokens = make_tokens(["AB"], "char")

    assert tokens.decode([1, 0, 2, 1, 0, 1, 3, 1]) == "A B"
    assert tokens.decode([]) == ""


def test_symbols_outside_the_table_are_named(tokens: Tokens) -> None:
    with pytest.raises(DataError, match="'7'"):
        tokens.encode("CAT 7")


@pytest.mark.parametrize(("kind", "size"), [("char", None), ("bpe", 45), ("unigram", 35)])
def test_table_does_not_depend_on_the_order_of_the_texts(kind: str, size: int | None) -> None:
    texts = sentences()

    assert make_tokens(texts, kind, size).to_state() == make_tokens(texts[::-1], kind, size).to_state()


def test_saved_tokens_load_equal(tokens: Tokens, tmp_path: Path) -> None:
    tokens.save(tmp_path / "tokens")

    assert load_tokens(tmp_path / "tokens").to_state() == tokens.to_state()


def test_saved_table_is_one_symbol_a_line(tmp_path: Path) -> None:
    make_tokens(["BA B"], "char").save(tmp_path / "tokens")

    assert (tmp_path / "tokens" / "tokens.txt").read_text() == "<blank>\n<space>\nA\nB\n"


def test_state_survives_json(tokens: Tokens) -> None:
    again = tokens_from_state(json.loads(json.dumps(tokens.to_state())))

    assert again.encode("THE CAT") == tokens.encode("THE CAT")


@pytest.mark.parametrize("word", ["<unk>", "<blank>", "<s>", "</s>", "<space>"])
def test_reserved_words_in_a_transcript_are_refused(word: str) -> None:
    with pytest.raises(DataError, match=word):
        make_tokens(["A B", f"A {word}"], "char")


@pytest.mark.parametrize("texts", [[], [""], [" ", ""]])
def test_no_text_at_all_is_refused(texts: list[str]) -> None:
    with pytest.raises(DataError, match="no text"):
        make_tokens(texts, "char")


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [("word", None, "expected one of char"), ("char", 30, "takes no size"), ("bpe", None, "needs a size")],
)
def test_settings_that_do_not_fit_are_refused(kind: str, size: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_tokens(["A B"], kind, size)


def test_more_pieces_than_the_text_allows_is_an_error_with_the_size() -> None:
    with pytest.raises(ConfigError, match="9000 pieces"):
        make_tokens(sentences(), "bpe", 9000)


@pytest.mark.parametrize(
    "symbols",
    [[], ["<space>", "<blank>"], ["<blank>", "<space>", "AB"], ["<blank>", "<space>", "A", "A"]],
    ids=["empty", "order", "two characters", "twice"],
)
def test_table_of_another_form_is_refused(symbols: list[str]) -> None:
    with pytest.raises(DataError, match="character tokens"):
        CharTokens(symbols)


def test_missing_sentencepiece_model_is_not_taken_for_characters(tmp_path: Path) -> None:
    make_tokens(sentences(), "bpe", 45).save(tmp_path / "tokens")
    (tmp_path / "tokens" / "spm.model").unlink()

    with pytest.raises(DataError, match=r"spm\.model"):
        load_tokens(tmp_path / "tokens")


@pytest.mark.parametrize("content", [b"", b"garbage"], ids=["empty", "garbage"])
def test_damaged_sentencepiece_model_is_named(tmp_path: Path, content: bytes) -> None:
    make_tokens(sentences(), "bpe", 45).save(tmp_path / "tokens")
    (tmp_path / "tokens" / "spm.model").write_bytes(content)

    with pytest.raises(DataError, match=r"spm\.model"):
        load_tokens(tmp_path / "tokens")


def test_model_of_another_table_is_refused(tmp_path: Path) -> None:
    make_tokens(sentences(), "bpe", 45).save(tmp_path / "a")
    make_tokens(sentences(), "bpe", 50).save(tmp_path / "b")
    (tmp_path / "a" / "spm.model").write_bytes((tmp_path / "b" / "spm.model").read_bytes())

    with pytest.raises(DataError, match="different models"):
        load_tokens(tmp_path / "a")


@pytest.mark.parametrize(
    "state", [{}, {"kind": "word"}, {"kind": "char"}, {"kind": "sentencepiece", "model": "a"}]
)
def test_stored_state_of_another_form_is_refused(state: dict) -> None:
    with pytest.raises(DataError, match="stored tokens"):
        tokens_from_state(state)
