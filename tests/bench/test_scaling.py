"""The curves of `extract` by hours and processes, and their plots."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import common, scaling


def test_a_tiny_run_prints_its_tables_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scaling, "FRONTENDS", ("power_spectrogram",))
    monkeypatch.setattr(scaling, "sched_getaffinity", lambda _: {0})
    scaling.main(["--tiny", "--results", str(tmp_path / "results")])

    printed = capsys.readouterr().out
    assert "power_spectrogram, peak MiB" in printed
    for name in ("scaling_hours", "scaling_workers"):
        assert f"{name}: a tiny run, no result; nothing written" in printed
    assert not list(tmp_path.iterdir())


def test_a_plot_is_a_small_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="draws with matplotlib")
    common.plot(
        tmp_path / "new" / "curve.png", [{"hours": 1, "s": 2.0}, {"hours": 2, "s": 4.0}], x="hours", y="s"
    )

    picture = (tmp_path / "new" / "curve.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 100_000
