"""Lists of transcripts outside a data dir."""

from __future__ import annotations

from pathlib import Path

import pytest

from sertoolkit.errors import DataError
from sertoolkit.text.transcripts import read_transcripts


def write(path: Path, content: bytes) -> Path:
    (path / "text").write_bytes(content)
    return path / "text"


@pytest.mark.parametrize(
    "content", [b"a-1 ONE TWO\nb-1 TWO\n", b"b-1 TWO\r\na-1 ONE TWO"], ids=["proper", "untidy"]
)
def test_lines_become_texts_by_utterance(tmp_path: Path, content: bytes) -> None:
    assert read_transcripts(write(tmp_path, content)) == {"a-1": "ONE TWO", "b-1": "TWO"}


@pytest.mark.parametrize("content", [b"a-1\nb-1 X\n", b"a-1 \nb-1 X\n"])
def test_empty_text_is_a_fault_unless_allowed(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, content)

    assert read_transcripts(path, may_be_empty=True) == {"a-1": "", "b-1": "X"}
    with pytest.raises(DataError, match="text:1: a-1: has no value"):
        read_transcripts(path)


@pytest.mark.parametrize(
    "content", [b"", b"a ONE\na TWO\n", b"a caf\xe9\n"], ids=["empty", "duplicate", "latin-1"]
)
def test_fault_that_loses_something_is_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match="text"):
        read_transcripts(write(tmp_path, content))
