"""Strict configurations."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from sertoolkit.config import dump_yaml, from_dict, hash_of, load_config, load_yaml, parse_yaml, to_dict
from sertoolkit.errors import ConfigError
from sertoolkit.training.config import AsrConfig, AsrTraining, SerConfig, System, Training

ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 1.0
    name: str | None = None


@dataclasses.dataclass(frozen=True)
class Outer:
    count: int
    inner: Inner = Inner()
    words: list[str] = dataclasses.field(default_factory=list)
    by_name: dict[str, Inner] = dataclasses.field(default_factory=dict)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("1.5", 1.5),
        (".5", 0.5),
        ("3", 3),
        ("-2", -2),
        ("true", True),
        ("no", "no"),
        ("012", "012"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("null", None),
        ("[1, a]", [1, "a"]),
    ],
)
def test_scalars_mean_what_a_reader_expects(text, expected):
    value = parse_yaml(text)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count: 1\ncounts: 2\n", r"conf.yaml:2: unknown key 'counts'; did you mean 'count'\?"),
        ("count: 1\ninner: {rat: 2}\n", r"conf.yaml:2: unknown key 'rat'; did you mean 'rate'\?"),
        ("count: 1\ncount: 2\n", r"conf.yaml:2: key 'count' stands twice \(first in .*conf.yaml:1\)"),
        ("words: [a]\n", "missing count"),
        ("count: one\n", "conf.yaml:1: count: expected a whole number, found 'one'"),
        ("count: true\n", "expected a whole number, found True"),
        ("count: 1.0\n", "expected a whole number"),
        ("count: 1\nwords: a\n", "conf.yaml:2: words"),
        ("count: 1\nwords: [1]\n", "text"),
        ("count: &a 1\nwords: [*a]\n", "conf.yaml:2: aliases are not allowed"),
        ("count: !!python/object/apply:os.system [true]\n", "not valid YAML"),
        ("count: [1\n", "not valid YAML"),
        ("- 1\n", "expected `key: value` lines"),
        ("a: 1\n\tb: 2\n", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_file_and_line(tmp_path, text, message):
    path = tmp_path / "conf.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(Outer, path)


def test_all_faults_of_a_file_come_at_once_each_with_its_line(tmp_path):
    path = tmp_path / "conf.yaml"
    path.write_text(
        "systems:\n"
        "  mp-1: {head: mean_pool, layer: [1]}\n"
        "  mp-2: {head: mean_pool, layers: two}\n"
        "  mp-3:\n"
        "    head: mean_pool\n"
        "    layers: [0]\n"
        "training:\n"
        "  optimiser: adma\n"
        "  max_epochs: 1.5\n"
        "sed: 1\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(SerConfig, path)

    title, *faults = str(caught.value).splitlines()
    assert title == f"{path}: 6 faults"
    expected = [
        (2, "unknown key 'layer'; did you mean 'layers'?"),
        (3, "layers: expected list[int], found 'two'"),
        (6, "layers are numbered from 1, found [0]"),
        (8, "optimiser: 'adma' is not one of sgd, adam, adamw; did you mean 'adam'?"),
        (9, "max_epochs: expected a whole number, found 1.5"),
        (10, "unknown key 'sed'"),
    ]
    for fault, (line, message) in zip(faults, expected, strict=True):
        assert fault.startswith(f"  {path}:{line}: ")
        assert message in fault


def test_all_keys_that_stand_twice_are_named(tmp_path):
    with pytest.raises(ConfigError, match="(?s)2 faults.*x:2: key 'a' stands twice.*x:4: key 'b' stands"):
        parse_yaml("a: 1\na: 2\nb: 1\nb: 2\n", "x")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([], "conf.yaml:3: batch_size must be above 0, found 0"),
        (
            ["training.batch_size=8", "training.patience=-1"],
            "setting 'training.patience=-1': patience must be",
        ),
    ],
)
def test_a_value_out_of_range_is_shown_where_it_stands(tmp_path, settings, message):
    (tmp_path / "conf.yaml").write_text("training:\n  optimiser: sgd\n  batch_size: 0\n")
    with pytest.raises(ConfigError, match=message):
        load_config(AsrConfig, tmp_path / "conf.yaml", settings)


def test_a_missing_or_huge_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_yaml(tmp_path / "none.yaml")
    (tmp_path / "huge.yaml").write_text("a: " + "x" * (1 << 20))
    with pytest.raises(ConfigError, match="bytes"):
        load_yaml(tmp_path / "huge.yaml")


def test_the_command_line_wins_over_yaml_and_yaml_over_defaults(tmp_path):
    path = tmp_path / "conf.yaml"
    path.write_text("count: 1\ninner: {rate: 2, name: a}\n")
    config = load_config(Outer, path, ["inner.rate=1e-2", "by_name.x.rate=3"])
    assert config == Outer(count=1, inner=Inner(rate=0.01, name="a"), by_name={"x": Inner(rate=3.0)})


@pytest.mark.parametrize("override", ["count", "=1", "count.x=1", "cuont=1", "count=one"])
def test_a_wrong_override_is_refused(tmp_path, override):
    path = tmp_path / "conf.yaml"
    path.write_text("count: 1\n")
    with pytest.raises(ConfigError):
        load_config(Outer, path, [override])


@pytest.mark.parametrize(
    "config",
    [
        AsrConfig(encoder_conf={"hidden_size": 64}),
        SerConfig(
            systems={"mp-2": System(head="mean_pool", layers=[2])}, training=Training(learning_rate=1e-3)
        ),
    ],
)
def test_a_configuration_survives_yaml(config):
    assert from_dict(type(config), parse_yaml(dump_yaml(to_dict(config)))) == config


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": 0.0},
        {"batch_size": 0},
        {"anneal_factor": 1.0},
        {"patience": -1},
        {"optimiser": "adma"},
    ],
)
def test_values_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError):
        from_dict(Training, settings)


def test_what_a_recogniser_is_not_told_is_as_in_the_papers_recipe():
    paper = load_config(AsrConfig, ROOT / "egs/librispeech_tedlium_voxforge/asr/conf/asr.yaml").training
    told = {"batch_size": 32, "max_epochs": 70, "stop_learning_rate": 1e-7, "checkpoint_seconds": 600}
    partial = from_dict(AsrConfig, {"training": told}).training
    assert dataclasses.asdict(partial) == dataclasses.asdict(paper) | {
        "anneal_factor": pytest.approx(0.909091)
    }


def test_the_hash_depends_on_content_not_on_the_order_of_keys():
    assert hash_of({"a": 1, "b": [2]}) == hash_of({"b": [2], "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 2})
    assert hash_of({"a": 1}) != hash_of({"a": "1"})


def test_a_system_may_train_otherwise_than_the_rest():
    slow = System(head="mean_pool", layers=[1], training={"learning_rate": 0.5})
    wrong = System(head="mean_pool", layers=[1], training={"learning_rat": 0.5})
    common = Training(batch_size=7)
    config = SerConfig(
        systems={"own": slow, "rest": System(head="baseline"), "wrong": wrong}, training=common
    )
    assert config.trainings_of("own") == [Training(batch_size=7, learning_rate=0.5)]
    assert config.trainings_of("rest") == [common]
    with pytest.raises(ConfigError, match="training of wrong: unknown key 'learning_rat'; did you mean"):
        config.trainings_of("wrong")


def test_an_unknown_system_is_refused_with_the_nearest_name():
    config = SerConfig(systems={"mp-1": System(head="mean_pool", layers=[1])})
    with pytest.raises(ConfigError, match="did you mean 'mp-1'"):
        config.choose(["mp1"])
    assert list(config.choose([])) == ["mp-1"]


def test_settings_of_recognisers_are_unknown_to_emotion_systems():
    assert from_dict(AsrTraining, {"batch_frames": 8000}).batch_frames == 8000
    for key in ("batch_frames", "deterministic"):
        with pytest.raises(ConfigError, match=f"unknown key '{key}'"):
            from_dict(Training, {key: 1})
