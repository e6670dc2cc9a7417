"""`sertoolkit doctor`: what is missing is found and comes with its remedy."""

from __future__ import annotations

import importlib
import shutil
from importlib import metadata
from pathlib import Path

import pytest

from sertoolkit import cli, doctor, registry
from sertoolkit.doctor import Finding
from sertoolkit.kernels import cpu


def found(subject: str, check) -> list[Finding]:
    return [finding for finding in doctor._guarded(check) if finding.subject == subject]


def test_a_whole_installation_has_no_missing_part(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["doctor", "--all", "--dir", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert all(
        part in output
        for part in ("head progressive", "frontend mfcc_pitch", "FLAC", "GB free", "\nall is there")
    )
    assert str(tmp_path) not in output


def test_something_missing_ends_with_1_and_its_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        doctor, "examine", lambda folder: [Finding("missing", "flock", "not found", "apt install it")]
    )
    assert cli.main(["doctor"]) == 1
    output = capsys.readouterr().out
    assert "-> apt install it" in output
    assert "\n1 thing is missing: flock; the lines above say what to do\n" in output


def test_all_missing_things_stand_in_the_last_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [Finding("missing", "flock", ""), Finding("note", "gpu", ""), Finding("missing", "awk", "")]
    monkeypatch.setattr(doctor, "examine", lambda folder: findings)
    assert cli.main(["doctor"]) == 1
    verdict, limited = capsys.readouterr().out.splitlines()[-2:]
    assert verdict.startswith("2 things are missing: flock, awk;")
    assert limited == "limited, see the notes: gpu"


def test_steps_that_are_not_compiled_are_a_note_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "load", lambda instructions: None)
    (finding,) = found("compiled steps", doctor._torch)
    assert finding.state == "note"
    assert "C++ compiler" in finding.remedy


def test_which_steps_are_compiled_is_told_without_asking_for_all(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda folder: [Finding("ok", "compiled steps", "for avx2")])
    assert cli.main(["doctor"]) == 0
    assert "compiled steps" in capsys.readouterr().out


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: ["no-such-package>=1", "other>=1; extra == 'dev'"])
    assert [finding.subject for finding in doctor._packages()] == ["no-such-package"]


def test_a_package_outside_its_range_is_named_with_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: ["numpy>=99"])
    (finding,) = doctor._packages()
    assert finding.state == "missing"
    assert metadata.version("numpy") in finding.found
    assert ">=99" in finding.found


def test_versions_of_torch_that_differ_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchaudio

    monkeypatch.setattr(torchaudio, "__version__", "2.0.0+cpu")
    assert "beside torch" in found("torchaudio", doctor._torch)[0].found


def test_a_broken_plugin_is_named_and_the_others_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN["head"], "broken", "sertoolkit.heads.no_such_module:Broken")
    assert found("head broken", doctor._plugins)[0].state == "missing"
    assert found("head baseline", doctor._plugins)[0].state == "ok"


def test_a_check_that_raises_is_a_finding_and_not_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(name: str) -> None:
        raise OSError("libespeak-ng.so: invalid ELF header")

    monkeypatch.setattr(importlib, "import_module", broken)
    findings = list(doctor._guarded(doctor._demo))
    assert [(finding.state, finding.subject) for finding in findings] == [("missing", "demo")]
    assert "invalid ELF header" in findings[0].found


def test_missing_programs_are_named_with_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    findings = {finding.subject: finding.remedy for finding in doctor._programs()}
    assert list(findings) == ["bash", "awk", "flock"]
    assert "util-linux" in findings["flock"]


@pytest.mark.parametrize(("free", "state"), [(0, "note"), (9.9e9, "note"), (11e9, "ok")])
def test_little_disk_space_is_noted(
    free: float, state: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert doctor._disk(tmp_path).state == state
