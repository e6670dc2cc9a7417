"""Tables, records and turns of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import common


def run(arguments: list[str], rows: list[dict]) -> None:
    common.report("probe", rows, settings={"size": 3}, arguments=common.parser(None).parse_args(arguments))


def test_a_run_appends_one_line_with_what_it_depends_on(tmp_path: Path) -> None:
    for speed in (1.5, 2.5):
        run(["--results", str(tmp_path)], [{"what": "ours", "x real time": speed}])

    first, second = map(json.loads, (tmp_path / "probe.jsonl").read_text().splitlines())
    assert second["rows"] == [{"what": "ours", "x real time": 2.5}]
    assert first["settings"] == {"size": 3}
    assert {"benchmark", "date", "commit", "machine", "versions"} <= first.keys()
    assert first["versions"]["numpy"] and first["machine"]["processor"]


def test_a_tiny_run_leaves_no_record(tmp_path: Path) -> None:
    run(["--tiny", "--results", str(tmp_path)], [{"what": "ours"}])

    assert not list(tmp_path.iterdir())


def test_a_record_holds_no_number_that_json_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        run(["--results", str(tmp_path)], [{"speed": float("nan")}])


def test_a_table_has_all_columns_and_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    common.print_table([{"what": "ours", "speed": 12.3456}, {"what": "rival", "ratio": 123456.7}])

    assert capsys.readouterr().out.splitlines() == [
        "| what  | speed | ratio  |",
        "|-------|-------|--------|",
        "| ours  | 12.35 | -      |",
        "| rival | -     | 123457 |",
    ]


def test_contestants_take_turns_after_a_run_that_is_not_timed() -> None:
    order: list[str] = []
    seconds = common.time_in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)

    assert order == ["a", "b"] * 3
    assert [len(times) for times in seconds.values()] == [2, 2]


def test_a_ratio_compares_round_by_round() -> None:
    assert common.ratio([2.0, 20.0, 9.0], [1.0, 10.0, 1.0]) == 2.0
