"""Configurations: frozen dataclasses, with YAML as their text form, strict both ways.

Unknown and duplicate keys are errors with file, line and the nearest known name; ``1e-3`` is a float; ``no`` is a
string; aliases and tags are refused. All faults of a file come in one error. Precedence: default, then YAML, then
command line.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml

from sertoolkit.errors import ConfigError, report_faults, suggest

T = TypeVar("T")

_NOTHING: Any = None  # in place of a value that could not be made
MAX_BYTES = 1 << 20  # a configuration is read by people; more than this is another kind of file


class _Mapping(dict):
    """A YAML mapping that knows where its keys stand."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, str] = {}


class _Loader(yaml.SafeLoader):
    """Plain data only: no tags, no aliases, no duplicate keys, JSON's booleans and numbers."""

    source = "<text>"
    faults: list[str]
    yaml_implicit_resolvers: ClassVar[dict] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise ConfigError(
                f"{self.source}:{self.peek_event().start_mark.line + 1}: aliases are not allowed"
            )
        return super().compose_node(parent, index)

    def construct_mapping_strictly(self, node: yaml.MappingNode) -> _Mapping:
        mapping = _Mapping()
        for key_node, value_node in node.value:
            where = f"{self.source}:{key_node.start_mark.line + 1}"
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int)) or isinstance(key, bool):
                self.faults.append(f"{where}: key {key!r} must be a word")
                continue
            if str(key) in mapping:
                self.faults.append(f"{where}: key {key!r} stands twice (first in {mapping.lines[str(key)]})")
                continue
            mapping.lines[str(key)] = where
            mapping[str(key)] = self.construct_object(value_node, deep=True)
        return mapping


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_mapping_strictly)
for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", ["n", "~", ""]),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.inf)",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))


def parse_yaml(text: str, source: str = "<text>") -> Any:
    """Plain data from YAML text.

    Args:
        text: the document
        source: file name for messages

    Raises:
        ConfigError: if the text is not YAML, or holds duplicate keys, aliases or tags

    """
    loader = _Loader(text)
    loader.source, loader.faults = source, []
    try:
        data = loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        raise ConfigError(f"{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    finally:
        loader.dispose()
    _report(source, loader.faults)
    return data


def load_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        ConfigError: if the file is missing, too large, not UTF-8, not YAML or not a mapping

    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such configuration file")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{path}: {path.stat().st_size} bytes; a configuration has at most {MAX_BYTES}")
    try:
        data = parse_yaml(path.read_text(encoding="utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from error
    if data is None:
        return _Mapping()
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected `key: value` lines, found a {type(data).__name__}")
    return data


def dump_yaml(data: Any) -> str:
    """YAML text of plain data, keys in their own order."""
    return yaml.safe_dump(_plain(data), sort_keys=False, allow_unicode=True, width=110)


def load_config(cls: type[T], path: str | Path | None = None, overrides: Sequence[str] = ()) -> T:
    """A configuration from its defaults, a YAML file and ``a.b=value`` overrides, the later winning.

    Raises:
        ConfigError: if keys are unknown, values have the wrong type, or the values do not fit together; all faults
            are named, each with its line

    """
    data = load_yaml(path) if path is not None else _Mapping()
    for override in overrides:
        _set(data, override)
    return from_dict(cls, data, str(path) if path is not None else cls.__name__)


def from_dict(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """A dataclass from plain data, checked key by key.

    Args:
        cls: a dataclass
        data: plain data, as YAML gives it
        where: file or key that the data come from, for messages

    Raises:
        ConfigError: as :func:`load_config`

    """
    faults: list[str] = []
    value = _build(cls, data, where, faults)
    _report(where or cls.__name__, faults)
    return value


def to_dict(config: Any) -> dict[str, Any]:
    """Plain data of a dataclass, as YAML and JSON hold it."""
    return _plain(dataclasses.asdict(config))


def hash_of(data: Any) -> str:
    """First 16 hexadecimal digits of the SHA-256 of plain data; the order of keys does not matter."""
    text = json.dumps(_plain(data), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(data: Any) -> Any:
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return _plain(dataclasses.asdict(data))
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(value) for value in data]
    if isinstance(data, (set, frozenset)):
        return sorted(_plain(value) for value in data)
    return str(data) if isinstance(data, Path) else data


def _set(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"setting {override!r}: expected key=value, e.g. training.learning_rate=1e-3")
    *parents, last = key.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise ConfigError(f"setting {override!r}: {parent!r} holds a value, not keys")
    data[last] = parse_yaml(text, f"setting {override!r}")
    getattr(data, "lines", {})[last] = f"setting {override!r}"


def _report(where: str, faults: Sequence[str]) -> None:
    if len(faults) == 1:
        raise ConfigError(faults[0])
    report_faults(where, faults, ConfigError, limit=100)


def _build(cls: Any, data: Any, where: str, faults: list[str]) -> Any:
    """A dataclass from plain data; what is wrong is added to ``faults``, and the value means nothing then."""
    if not isinstance(data, Mapping):
        faults.append(f"{where}: expected `key: value` lines, found {data!r}")
        return _NOTHING
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    lines = getattr(data, "lines", {})
    values = {}
    before = len(faults)
    for key, value in data.items():
        place = lines.get(key, where or cls.__name__)
        if key in fields:
            values[key] = _convert(hints[key], value, f"{place}: {key}", faults)
        else:
            faults.append(f"{place}: unknown key {key!r}{suggest(key, fields)} (known: {', '.join(fields)})")
    missing = [
        name
        for name, field in fields.items()
        if name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        faults.append(f"{where or cls.__name__}: missing {', '.join(missing)}")
    if len(faults) > before:
        return _NOTHING
    try:
        return cls(**values)
    except ConfigError as error:
        # by custom, the first key that such a message names is the one that it is about
        place = next((lines[word] for word in re.findall(r"\w+", str(error)) if word in lines), where)
        faults.append(f"{place}: {error}" if place else str(error))
        return _NOTHING


def _convert(kind: Any, value: Any, where: str, faults: list[str]) -> Any:
    """``value`` as the annotated type; numbers widen to float, nothing else changes its type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        choices = [argument for argument in arguments if argument is not type(None)]
        if len(choices) == 1:
            return _convert(choices[0], value, where, faults)
        for choice in choices:
            wrong: list[str] = []
            result = _convert(choice, value, where, wrong)
            if not wrong:
                return result
    elif origin is typing.Literal:
        if value in arguments:
            return value
        names = [str(argument) for argument in arguments]
        faults.append(f"{where}: {value!r} is not one of {', '.join(names)}{suggest(str(value), names)}")
        return _NOTHING
    elif dataclasses.is_dataclass(kind):
        return _build(kind, value, where, faults)
    elif origin in (list, tuple, Sequence) and isinstance(value, (list, tuple)):
        items = [_convert(arguments[0] if arguments else Any, item, where, faults) for item in value]
        return items if origin is list else tuple(items)
    elif origin in (dict, Mapping) and isinstance(value, Mapping):
        lines = getattr(value, "lines", {})
        return {k: _convert(arguments[1], v, f"{lines.get(k, where)}: {k}", faults) for k, v in value.items()}
    elif kind is dict and isinstance(value, Mapping):
        return dict(value)
    elif kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    faults.append(f"{where}: expected {_name(kind)}, found {value!r}")
    return _NOTHING


def _name(kind: Any) -> str:
    return {float: "a number", int: "a whole number", str: "text (quote it)", bool: "true or false"}.get(
        kind, str(kind).replace("typing.", "")
    )
