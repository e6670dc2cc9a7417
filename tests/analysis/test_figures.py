"""What figures share."""

from __future__ import annotations

from pathlib import Path

from sertoolkit.analysis.figures import FigureNote, class_style, read_notes, write_notes


def test_classes_of_the_paper_have_its_colours_in_any_order() -> None:
    classes = ("sadness", "anger", "happiness", "neutral")

    red, blue = class_style("anger", classes)[0], class_style("sadness", classes)[0]

    assert int(red[1:3], 16) > 200 > int(red[5:7], 16)
    assert int(blue[5:7], 16) > 150 > int(blue[1:3], 16)


def test_classes_that_the_paper_lacks_still_differ() -> None:
    classes = ("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")

    assert len({class_style(name, classes) for name in classes}) == len(classes)


def test_notes_come_back_for_figures_that_are_there(tmp_path: Path) -> None:
    notes = [FigureNote(file=f"{n}.png", title=n, caption="c", alt="a") for n in ("here", "gone")]
    (tmp_path / "here.png").write_bytes(b"")
    write_notes(tmp_path, notes)

    assert read_notes(tmp_path) == notes[:1]


def test_folder_without_notes_has_none(tmp_path: Path) -> None:
    assert read_notes(tmp_path) == []
