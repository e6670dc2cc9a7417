"""Text to numbers and back: characters, or pieces of words by sentencepiece.

Number 0 is always the blank of CTC. A text with a symbol that the table does not hold is refused, never
mapped to an unknown token: a recogniser trained on guesses is hard to find out about later.
"""

from __future__ import annotations

import base64
import binascii
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sertoolkit.corpus.lists import RESERVED
from sertoolkit.errors import ConfigError, DataError, report_faults
from sertoolkit.storage.atomic import atomic_dir

BLANK = "<blank>"
SPACE = "<space>"
KINDS = ("char", "bpe", "unigram")

_TABLE = "tokens.txt"
_MODEL = "spm.model"


class Tokens(ABC):
    """A table of tokens. Its entry 0 is the blank of CTC."""

    blank: int = 0
    kind: str

    @property
    @abstractmethod
    def symbols(self) -> list[str]:
        """All tokens in order of their numbers; the first one is the blank."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Numbers of a text, none of them the blank.

        Args:
            text: words parted by single spaces

        Raises:
            DataError: if the text holds a symbol outside the table

        """

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Text of numbers; blanks are left out.

        Args:
            ids: numbers in [0, size)

        """

    @abstractmethod
    def to_state(self) -> dict[str, Any]:
        """Everything that :func:`tokens_from_state` needs, as JSON-able data."""

    @property
    def size(self) -> int:
        """Number of tokens, the blank included."""
        return len(self.symbols)

    def save(self, directory: str | Path) -> None:
        """Write ``tokens.txt``, one token a line, and ``spm.model`` where there is one.

        Args:
            directory: appears whole or not at all; replaced if it exists

        """
        with atomic_dir(Path(directory)) as temporary:
            table = "".join(f"{symbol}\n" for symbol in self.symbols)
            (temporary / _TABLE).write_text(table, encoding="utf-8")
            for name, content in self._files().items():
                (temporary / name).write_bytes(content)

    def _files(self) -> dict[str, bytes]:
        """Further files, with what the table alone does not say."""
        return {}

    def _refuse(self, text: str, outside: Iterable[str]) -> None:
        outside = sorted(set(outside))
        if outside:
            raise DataError(
                f"text {_shorten(text)!r}: {' '.join(map(repr, outside))} not among the {self.size} tokens;"
                " normalise the text as the training transcripts are, or make the tokens anew"
            )


class CharTokens(Tokens):
    """One token a character; the space is a token too.

    Args:
        symbols: ``<blank>``, ``<space>`` and then single characters, all different

    Raises:
        DataError: if the list is not of that form

    Examples:
        >>> tokens = make_tokens(["AB B"], "char")
        >>> tokens.symbols, tokens.encode("B A")
        (['<blank>', '<space>', 'A', 'B'], [3, 1, 2])

    """

    kind = "char"

    def __init__(self, symbols: Sequence[str]) -> None:
        faults = []
        if list(symbols[:2]) != [BLANK, SPACE]:
            faults.append(f"first tokens are {list(symbols[:2])}, expected ['{BLANK}', '{SPACE}']")
        faults += [f"token {s!r}: expected one character" for s in symbols[2:] if len(s) != 1 or s.isspace()]
        faults += [f"token {s!r} occurs twice" for s in sorted(set(symbols)) if list(symbols).count(s) > 1]
        report_faults("table of character tokens", faults, DataError)
        self._symbols = list(symbols)
        self._ids = {" " if symbol == SPACE else symbol: i for i, symbol in enumerate(symbols) if i}

    @property
    def symbols(self) -> list[str]:
        """Blank, space and the sorted characters."""
        return list(self._symbols)

    def encode(self, text: str) -> list[int]:
        """One number a character; DataError names characters outside the table."""
        self._refuse(text, (symbol for symbol in text if symbol not in self._ids))
        return [self._ids[symbol] for symbol in text]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the numbers, without spaces at the ends or in rows."""
        text = "".join(" " if i == 1 else self._symbols[i] for i in ids if i != self.blank)
        return " ".join(text.split())

    def to_state(self) -> dict[str, Any]:
        """The kind and the symbols."""
        return {"kind": self.kind, "symbols": self.symbols}


class SentencePieceTokens(Tokens):
    """Pieces of words by a sentencepiece model, whose number 0 (unknown) serves as the blank.

    Args:
        model: the serialised sentencepiece model
        where: named in errors

    Raises:
        DataError: if the bytes are not a model made by :func:`make_tokens`

    """

    kind = "sentencepiece"

    def __init__(self, model: bytes, *, where: str = "sentencepiece model") -> None:
        import sentencepiece

        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
            first = self._processor.id_to_piece(0)
        except (RuntimeError, IndexError) as error:
            raise DataError(f"{where}: damaged ({error}); make the tokens anew") from error
        if first != BLANK or self._processor.unk_id() != 0:
            raise DataError(
                f"{where}: token 0 is {first!r}, expected {BLANK!r}; make it by `sertoolkit tokens`"
            )
        self._model = model

    @property
    def symbols(self) -> list[str]:
        """The pieces of the model."""
        return [self._processor.id_to_piece(i) for i in range(self._processor.get_piece_size())]

    def encode(self, text: str) -> list[int]:
        """Numbers of the pieces; DataError names what no piece covers."""
        ids = self._processor.encode(text)
        if self.blank in ids:
            pieces = zip(ids, self._processor.encode(text, out_type=str), strict=True)
            self._refuse(text, (piece for i, piece in pieces if i == self.blank))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the pieces, without spaces at the ends or in rows."""
        text = self._processor.decode([int(i) for i in ids if i != self.blank])
        return " ".join(text.split())

    def to_state(self) -> dict[str, Any]:
        """The kind and the model in base64."""
        return {"kind": self.kind, "model": base64.b64encode(self._model).decode("ascii")}

    def _files(self) -> dict[str, bytes]:
        return {_MODEL: self._model}


def make_tokens(texts: Iterable[str], kind: str = "char", size: int | None = None) -> Tokens:
    """Make a table from training transcripts; their order does not matter.

    Args:
        texts: transcripts of the training set alone
        kind: ``char``, or ``bpe`` or ``unigram`` of sentencepiece
        size: number of tokens of a sentencepiece model, the blank included

    Raises:
        ConfigError: if the kind is unknown, or the size missing or not to be had from these texts
        DataError: if there is no text, or a reserved word such as ``<unk>`` in it

    """
    if kind not in KINDS:
        raise ConfigError(f"tokens: kind {kind!r}, expected one of {', '.join(KINDS)}")
    if (size is None) != (kind == "char"):
        raise ConfigError(f"tokens: kind {kind} {'takes no size' if size else 'needs a size (--size)'}")
    lines = sorted(" ".join(text.split()) for text in texts)
    faults = [
        f"text {_shorten(line)!r}: reserved word {word!r}"
        for line in lines
        for word in sorted(RESERVED.intersection(line.split()))
    ]
    report_faults("transcripts for tokens", faults, DataError)
    if not any(lines):
        raise DataError("transcripts for tokens: no text at all; check the training set's `text`")
    if kind == "char":
        return CharTokens([BLANK, SPACE, *sorted(set("".join(lines)) - {" "})])
    return _train_sentencepiece(lines, kind, size)


def load_tokens(directory: str | Path) -> Tokens:
    """Read what :meth:`Tokens.save` wrote.

    Raises:
        DataError: if the files are damaged or do not belong together
        FileNotFoundError: if there is no table

    """
    directory = Path(directory)
    table = (directory / _TABLE).read_text(encoding="utf-8").splitlines()
    model = directory / _MODEL
    if not model.exists():
        if any("\u2581" in symbol for symbol in table):
            raise DataError(f"{model}: missing, though {_TABLE} holds pieces of words; make the tokens anew")
        return CharTokens(table)
    tokens = SentencePieceTokens(model.read_bytes(), where=str(model))
    if tokens.symbols != table:
        raise DataError(f"{directory}: {_TABLE} and {_MODEL} are of different models; make the tokens anew")
    return tokens


def tokens_from_state(state: dict[str, Any]) -> Tokens:
    """Make tokens from what :meth:`Tokens.to_state` gave.

    Raises:
        DataError: if the state is not one of the two kinds, or damaged

    """
    if state.get("kind") == CharTokens.kind and "symbols" in state:
        return CharTokens(state["symbols"])
    if state.get("kind") == SentencePieceTokens.kind and "model" in state:
        try:
            return SentencePieceTokens(base64.b64decode(state["model"], validate=True))
        except binascii.Error as error:
            raise DataError(f"stored tokens: model is not base64 ({error})") from error
    raise DataError(
        f"stored tokens: kind {state.get('kind')!r} with {sorted(state)}, expected char or sentencepiece"
    )


def _train_sentencepiece(lines: Sequence[str], kind: str, size: int | None) -> SentencePieceTokens:
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type=kind,
            vocab_size=size,
            character_coverage=1.0,
            normalization_rule_name="identity",
            unk_id=0,
            unk_piece=BLANK,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,  # pieces must not depend on the machine
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[-1]
        raise ConfigError(
            f"tokens: {size} pieces of kind {kind} cannot be had from these texts: {reason}"
        ) from error
    return SentencePieceTokens(model.getvalue())


def _shorten(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
