"""Reading a YAML configuration: plain values and the line each stands on.

Scalars follow YAML 1.2's core schema. PyYAML's own (YAML 1.1) would read the thresholds ``on:`` and
``off:`` as booleans and ``1:30`` as the number 90.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from vinfer.errors import ConfigError

KeyPath = tuple[str, ...]

# Aliases let a short file describe a huge or endless tree; a real configuration is far below this.
_MAX_VALUES = 20_000
_MAX_DEPTH = 16

_VARIABLE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


class _CoreLoader(yaml.SafeLoader):
    """SafeLoader that resolves plain scalars as YAML 1.2's core schema does."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _CoreLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )


def read_config_file(
    path: Path, environment: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """The values of a YAML file, environment variables filled in, and the line of each key.

    ``${NAME}`` and ``${NAME:-default}`` in a string stand for an environment variable, ``$${`` for
    a literal ``${``. They are replaced after parsing, so a variable's content can't add keys. A key
    whose value is empty (also after substitution) is left out: it means the default.

    Args:
        path: the file, UTF-8.
        environment: the variables; None for those of this process.

    Returns:
        values: nested dicts and lists. An empty file gives ``{}``.
        lines: line, counted from 1, of each key path and list item.

    Raises:
        ConfigError: there is no such file, it is not UTF-8 or not YAML, not a mapping, has a key
            twice or one that is not text, or names a variable that is not set.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ConfigError(f"no configuration file at {path}; check the path") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"can't read the configuration {path}: {exc}") from exc
    reader = _Reader(path, os.environ if environment is None else environment)
    return reader.read(text), reader.lines


class _Reader:
    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._path = path
        self._environment = environment
        self._num_values = 0

    def read(self, text: str) -> dict[str, Any]:
        loader = _CoreLoader(text)
        try:
            node = loader.get_single_node()
            value = None if node is None else self._value(loader, node, ())
        except yaml.YAMLError as exc:
            mark = getattr(exc, "problem_mark", None)
            where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            problem = getattr(exc, "problem", None) or str(exc)
            raise ConfigError(f"{self._path}{where}: not valid YAML: {problem}") from exc
        finally:
            loader.dispose()
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ConfigError(
                f"{self._path}: found a {type(value).__name__} at the top, expected a mapping of "
                "sections such as `detect:`"
            )
        return value

    def _value(self, loader: _CoreLoader, node: yaml.Node, path: KeyPath) -> Any:
        self._num_values += 1
        if self._num_values > _MAX_VALUES or len(path) > _MAX_DEPTH:
            raise ConfigError(
                f"{self._path}: more than {_MAX_VALUES} values or {_MAX_DEPTH} levels after "
                "expanding aliases; write a smaller file"
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            items = []
            for i, child in enumerate(node.value):
                where = (*path, str(i))
                self.lines[where] = child.start_mark.line + 1
                items.append(self._value(loader, child, where))
            return items
        value = loader.construct_object(node)
        return self._substituted(value, path, node) if isinstance(value, str) else value

    def _mapping(
        self, loader: _CoreLoader, node: yaml.MappingNode, path: KeyPath
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = loader.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise ConfigError(
                    f"{self._path} line {line}: found the key {key!r}, expected text; put it in "
                    "quotes"
                )
            where = (*path, key)
            if key in seen:
                raise ConfigError(
                    f"{self._path} line {line}: {'.'.join(where)} stands twice, first in line "
                    f"{seen[key]}; keep one"
                )
            seen[key] = self.lines[where] = line
            value = self._value(loader, value_node, where)
            if value is not None:
                result[key] = value
        return result

    def _substituted(self, text: str, path: KeyPath, node: yaml.Node) -> str | None:
        where = f"{self._path} line {node.start_mark.line + 1}: {'.'.join(path) or 'the file'}"

        def replaced(match: re.Match[str]) -> str:
            name = match["name"]
            if name is None:
                return "${"
            value = self._environment.get(name, "")
            if not value and match["default"] is not None:
                return match["default"]
            if name not in self._environment:
                raise ConfigError(
                    f"{where} needs the environment variable {name}, which is not set; set it or "
                    f"give a default: ${{{name}:-default}}"
                )
            return value

        rest = _VARIABLE.sub("", text)
        if "${" in rest:
            raise ConfigError(
                f"{where}: found {text!r}, expected ${{NAME}} or ${{NAME:-default}}; write $${{ "
                "for a literal ${"
            )
        result = _VARIABLE.sub(replaced, text)
        return None if text and not result else result
