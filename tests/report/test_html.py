"""The HTML report: nothing from outside, nothing unescaped, readable without eyes."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from sertoolkit.analysis.figures import FigureNote, write_notes
from sertoolkit.analysis.mistakes import mistake_rows
from sertoolkit.analysis.tables import rows_tsv
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.errors import DataError
from sertoolkit.report.facts import collect_facts
from sertoolkit.report.html import compose_html
from sertoolkit.scoring.comparison import compare_systems
from sertoolkit.scoring.members import read_members
from sertoolkit.scoring.table import count_members, score_members
from sertoolkit.storage.atomic import write_text, write_yaml

EVIL = "<script>alert(\"1\")</script> & 'more'"
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Tags with their attributes, visible text, and whether tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def compose(exp: Path, add_member: Callable[..., Path], resolved: ResolvedProtocol) -> Callable[..., Page]:
    """Trains two systems with two seeds; composes the report of what lies in the folder."""
    for system in ("baseline-96", "mp-2"):
        for fold in resolved.folds:
            for seed in (1, 2):
                add_member(system, fold, seed, wrong=seed)

    def make(
        *,
        folds: list[str] | None = None,
        tested: bool = True,
        title: str = "Title",
        players: DataDir | None = None,
    ) -> Page:
        members = read_members(exp, resolved, folds=folds)
        scores = score_members(members, resolved)
        if tested:
            scores["tests"] = compare_systems(count_members(members, resolved), resolved)
        out = exp / "report.html"
        facts = collect_facts(exp, resolved, members, scores, title=title, command="./run.sh")
        return Page(compose_html(facts, exp, out=out, players=players))

    return make


@pytest.fixture
def figure(exp: Path) -> bytes:
    """A figure of the analysis, with words that must be escaped."""
    from matplotlib.figure import Figure

    from sertoolkit.analysis.figures import save_figure

    save_figure(Figure(figsize=(2, 1)), exp / "analysis" / "one.png")
    write_notes(exp / "analysis", [FigureNote(file="one.png", title=EVIL, caption=EVIL, alt=f'"{EVIL}')])
    return (exp / "analysis" / "one.png").read_bytes()


@pytest.fixture
def recordings(
    exp: Path, resolved: ResolvedProtocol, compose: Callable[..., Page], tmp_path: Path
) -> DataDir:
    """Mistakes of mp-2; their recordings, in a folder whose name needs quoting."""
    folder = tmp_path / "my corpus#1"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"")
    test = resolved.folds["fold-01"].truth
    data_dir = DataDir(
        wav={"reco": str(folder / "a.wav")},
        utt2spk=dict.fromkeys(test, "s0"),
        segments={utt_id: ("reco", 1.5, 2.0) for utt_id in test},
        text=dict.fromkeys(test, EVIL),
    )
    rows = mistake_rows(exp, read_members(exp, resolved), resolved, "mp-2", data_dir=data_dir)
    write_text(exp / "analysis" / "mistakes.tsv", rows_tsv(rows))
    return data_dir


def test_bare_experiment_has_scores_protocol_and_making_alone(compose: Callable[..., Page]) -> None:
    page = compose(tested=False)

    ids = [attributes["id"] for attributes in page.all("section")]
    assert ids == ["scores", "protocol", "making"]
    links = [attributes["href"] for attributes in page.all("a")]
    assert links == [f"#{name}" for name in ids]


def test_whole_experiment_has_every_section_once(
    compose: Callable[..., Page], figure: bytes, recordings: DataDir
) -> None:
    ids = [attributes["id"] for attributes in compose().all("section")]

    assert ids == ["scores", "verdicts", "figures", "mistakes", "protocol", "making"]


def test_nothing_is_fetched_from_outside(
    compose: Callable[..., Page], figure: bytes, recordings: DataDir
) -> None:
    page = compose(players=recordings)

    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "base"})
    references = [
        value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")
    ]
    assert references
    assert not [value for value in references if value.startswith(("http:", "https:", "//"))]
    assert all(attributes["src"].startswith("data:image/png;base64,") for attributes in page.all("img"))


def test_every_tag_is_closed(compose: Callable[..., Page], figure: bytes, recordings: DataDir) -> None:
    assert compose().open == []


def test_page_can_be_read_aloud(compose: Callable[..., Page], figure: bytes, recordings: DataDir) -> None:
    page = compose(players=recordings)

    assert page.all("html") == [{"lang": "en"}]
    assert [name for name, value in page.all("meta")[1].items() if "width=device-width" in (value or "")]
    assert all(attributes["alt"] for attributes in page.all("img"))
    assert all(attributes["aria-label"] for attributes in page.all("audio"))
    assert len(page.all("caption")) == len(page.all("table")) >= 4
    assert all(attributes["scope"] in ("col", "row") for attributes in page.all("th"))


def test_values_are_escaped(
    compose: Callable[..., Page], figure: bytes, recordings: DataDir, exp: Path
) -> None:
    write_yaml(exp / "config.yaml", {"systems": {EVIL: EVIL}})
    write_yaml(exp / "environment.yaml", {"torch": EVIL})

    page = compose(title=EVIL)

    assert page.all("script") == []
    # title twice, figure twice, environment, and a mistake at least
    assert page.text.count(EVIL) >= 6


def test_figure_is_inside_the_page(compose: Callable[..., Page], figure: bytes) -> None:
    import base64

    (image,) = compose().all("img")

    assert base64.b64decode(image["src"].partition(",")[2]) == figure
    assert int(image["width"]) < int.from_bytes(figure[16:20], "big")


def test_player_finds_the_part_of_the_recording(
    compose: Callable[..., Page], recordings: DataDir, exp: Path
) -> None:
    source = compose(players=recordings).all("audio")[0]["src"]

    path, _, part = source.partition("#")
    assert (exp / unquote(path)).resolve() == Path(recordings.wav["reco"]).resolve()
    assert part == "t=1.5,2"


def test_page_without_players_names_no_place(
    compose: Callable[..., Page], recordings: DataDir, tmp_path: Path
) -> None:
    page = compose()

    assert page.all("audio") == []
    told = page.text + str(page.tags)
    assert "s0-anger0" in told
    assert not [part for part in ("a.wav", "my%20corpus", tmp_path.name) if part in told]


def test_players_of_another_data_dir_are_refused(compose: Callable[..., Page], recordings: DataDir) -> None:
    with pytest.raises(DataError, match="--players"):
        compose(players=DataDir())


def test_table_holds_the_scores(compose: Callable[..., Page]) -> None:
    page = compose()

    assert "mp-2" in page.text
    assert "0.750" in page.text  # accuracy: 5 of 6 and 4 of 6, in every fold


def test_verdicts_are_told_with_their_tests(compose: Callable[..., Page]) -> None:
    page = compose()

    assert "Every system against baseline-96, by UAR" in page.text
    assert "cannot be shown" in page.text  # three folds cannot


def test_lacking_folds_are_said_at_the_top(compose: Callable[..., Page]) -> None:
    assert "without fold-03 of the protocol" in compose(folds=["fold-01", "fold-02"]).text
    assert "Partial" not in compose().text


def test_same_experiment_gives_the_same_page(compose: Callable[..., Page], figure: bytes) -> None:
    assert compose().tags == compose().tags
