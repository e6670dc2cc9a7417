"""Plugins and their three doors."""

from __future__ import annotations

import textwrap
from importlib import metadata

import pytest

from sertoolkit import registry
from sertoolkit.errors import PluginError


@pytest.fixture(autouse=True)
def own_table(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_files", [])  # workers of later tests would load them


def write(path, text):
    path.write_text(textwrap.dedent(text))
    return path


def test_every_built_in_can_be_imported():
    for kind, table in registry.BUILT_IN.items():
        for name in table:
            assert isinstance(registry.get(kind, name), type)


def test_an_unknown_name_lists_the_known_ones_and_the_nearest():
    with pytest.raises(
        PluginError, match=r"unknown head 'basline'; did you mean 'baseline'\? \(known: baseline, "
    ):
        registry.get("head", "basline")


def test_an_unknown_kind_is_refused():
    with pytest.raises(PluginError, match="did you mean 'head'"):
        registry.get("heads", "baseline")


def test_a_file_of_ones_own_adds_a_plugin(tmp_path):
    path = write(
        tmp_path / "mine.py",
        """
        from sertoolkit.heads.mean_pool import MeanPool
        from sertoolkit.registry import register

        @register("head", "mine")
        class Mine(MeanPool):
            pass
        """,
    )
    registry.load_plugin(path)
    assert registry.get("head", "mine").__name__ == "Mine"
    assert "mine" in registry.names("head")
    assert ("head", "mine", f"{path}:Mine") in registry.describe()


def test_a_name_that_is_taken_is_refused_with_both_sides(tmp_path):
    path = write(
        tmp_path / "twice.py",
        """
        from sertoolkit.registry import register

        @register("head", "rnn")
        class Again:
            pass
        """,
    )
    with pytest.raises(
        PluginError, match=r"defined twice: by sertoolkit.heads.rnn:RNN and by .*/twice.py:Again"
    ):
        registry.load_plugin(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_package\n", "no_such_package"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("def\n", "SyntaxError"),
    ],
)
def test_a_broken_plugin_file_names_the_reason(tmp_path, text, message):
    with pytest.raises(PluginError, match=message):
        registry.load_plugin(write(tmp_path / "broken.py", text))


def test_a_missing_plugin_file_is_refused(tmp_path):
    with pytest.raises(PluginError, match="no such plugin file"):
        registry.load_plugin(tmp_path / "none.py")


def test_installed_packages_announce_plugins_and_are_imported_only_when_chosen(monkeypatch, tmp_path):
    write(tmp_path / "announced.py", "raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    points = [
        metadata.EntryPoint("lazy", "announced:Head", "sertoolkit.heads"),
        metadata.EntryPoint("absent", "not_there:Head", "sertoolkit.heads"),
        metadata.EntryPoint("rnn", "other:RNN", "sertoolkit.heads"),
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda group: [p for p in points if p.group == group])
    assert "lazy" in registry.names("head")
    with pytest.raises(RuntimeError, match="imported"):
        registry.get("head", "lazy")
    with pytest.raises(PluginError, match="the plugin itself is not installed"):
        registry.get("head", "absent")
    with pytest.raises(PluginError, match="defined twice"):
        registry.get("head", "rnn")
    assert registry.get("head", "baseline")  # a broken neighbour stops nobody


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("class Bad:\n    pass", "not a subclass of sertoolkit.heads.base.Head"),
        ("from sertoolkit.heads.base import Head\nclass Bad(Head):\n    pass", "has no `Config`"),
    ],
)
def test_a_class_that_does_not_keep_the_contract_is_refused(tmp_path, body, message):
    lines = body.replace("class Bad", '@register("head", "bad")\nclass Bad')
    registry.load_plugin(write(tmp_path / "bad.py", f"from sertoolkit.registry import register\n{lines}\n"))
    with pytest.raises(PluginError, match=message):
        registry.get("head", "bad")
