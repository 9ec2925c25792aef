"""Read an untrusted tree of settings into frozen dataclasses; say of every fault where it is and what would be right.

The dataclasses are the schema: field types say what a value must be, `Annotated` constraints what it may be. A tree
comes from a TOML file, and single leaves of it from environment variables. All faults are gathered, so that one run
shows them all. This module knows no setting by name and reads no file.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

SEPARATOR = "__"

T = TypeVar("T")


class SettingsError(Exception):
    """One or more settings are wrong; `problems` has a sentence for each: the place, the fault, the remedy."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclasses.dataclass(frozen=True, slots=True)
class InRange:
    """A number from `low` to `high`, both allowed."""

    low: float
    high: float

    def __call__(self, value: float) -> str | None:
        """None if `value` is allowed, else what is wrong and the allowed range."""
        if self.low <= value <= self.high:
            return None
        return f"{value} is out of range: use {self.low:.12g} to {self.high:.12g}"


Seconds = Annotated[float, InRange(0.001, 3600)]
"""How long something may take."""


@dataclasses.dataclass(frozen=True, slots=True)
class AnyOf:
    """One of the words `allowed`; the words `refused` exist, but cannot be chosen, for `reason`."""

    allowed: tuple[str, ...]
    refused: tuple[str, ...] = ()
    reason: str = ""

    def __call__(self, value: str) -> str | None:
        """None if `value` is allowed, else what is wrong and the allowed words."""
        if value in self.allowed:
            return None
        choices = ", ".join(self.allowed)
        if value in self.refused:
            return f"{value!r} {self.reason}: use one of {choices}"
        return f"{value!r} is not known{_nearest(value, self.allowed)}: use one of {choices}"


@dataclasses.dataclass(frozen=True, slots=True)
class Present:
    """A leaf as it was given: its value, the place it came from, and whether it is text to be read (a variable)."""

    value: Any
    place: str
    text: bool = False


def read(
    schema: type[T],
    table: Mapping[str, Any],
    place: str,
    variables: Mapping[str, str] | None = None,
    prefix: str = "",
) -> T:
    """An instance of the dataclass `schema` from a parsed TOML `table`.

    `place` names the file in messages. Of `variables`, those that begin with `prefix` override the table. Levels in a
    variable's name are parted by `__`; names of fields are taken in any case, keys of maps (a table's name) as written.
    Raises SettingsError with every fault found.
    """
    problems: list[str] = []
    tree = _tree(schema, table, place, variables, prefix, problems)
    result = _dataclass(schema, tree, place, "", problems)
    if problems:
        raise SettingsError(problems)
    return typing.cast("T", result)


def read_section(
    part: type[T],
    section: str,
    schema: Any,
    table: Mapping[str, Any],
    place: str,
    variables: Mapping[str, str] | None = None,
    prefix: str = "",
) -> T:
    """An instance of the dataclass `part`, whose fields are some of those that `schema` has in its table `section`.

    What `part` has is checked as `read` does it; of all else only the names are, so that who needs no more of a file
    need not be where the rest of it holds. Raises SettingsError with every fault found.
    """
    problems: list[str] = []
    tree = _tree(schema, table, place, variables, prefix, problems)
    _names(schema, tree, place, "", problems)
    result = None
    if not problems:
        given = {name: leaf for name, leaf in tree.get(section, {}).items() if name in _hints(part)}
        result = _dataclass(part, given, place, section, problems)
    if problems:
        raise SettingsError(problems)
    return typing.cast("T", result)


def _tree(
    schema: Any,
    table: Mapping[str, Any],
    place: str,
    variables: Mapping[str, str] | None,
    prefix: str,
    problems: list[str],
) -> dict[str, Any]:
    """All that is given, `variables` over `table`."""
    tree = _given(table, place, "")
    for variable, value in sorted((variables or {}).items()):
        if variable.startswith(prefix):
            _override(schema, tree, variable, variable[len(prefix) :].split(SEPARATOR), value, problems)
    return tree


def _given(table: Mapping[str, Any], place: str, path: str) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in table.items():
        where = f"{path}.{key}" if path else key
        tree[key] = _given(value, place, where) if isinstance(value, dict) else Present(value, f"{place}: {where}")
    return tree


def _override(
    schema: Any, tree: dict[str, Any], variable: str, levels: list[str], value: str, problems: list[str]
) -> None:
    kind = schema
    for depth, level in enumerate(levels):
        last = depth == len(levels) - 1
        kind, _ = _parted(kind)
        if _is_table(kind) and dataclasses.is_dataclass(kind):
            hints = _hints(kind)
            key = level.lower()
            if key not in hints:
                before = variable[: len(variable) - len(SEPARATOR.join(levels[depth:]))]
                whole = {name: f"{before}{name.upper()}" for name in hints}
                near = _nearest(key, hints, whole.__getitem__)
                problems.append(f"{variable}: there is no such setting{near}; remove it or correct its name")
                return
            kind = hints[key]
        elif get_origin(kind) is Mapping and level:
            key = level
            kind = get_args(kind)[1]
        else:
            problems.append(f"{variable}: the setting has no level {level!r}; remove it or correct its name")
            return
        if last:
            inner, _ = _parted(kind)
            if _is_table(inner):
                problems.append(f"{variable}: this is a group of settings; name one of them after another {SEPARATOR}")
                return
            tree[key] = Present(value, variable, text=True)
            return
        if not _is_table(_parted(kind)[0]):
            problems.append(f"{variable}: {level} has no levels below it; remove it or correct its name")
            return
        below = tree.get(key)
        if not isinstance(below, dict):
            below = tree[key] = {}
        tree = below


def _names(kind: Any, given: Any, place: str, path: str, problems: list[str]) -> None:
    """Whether each name that is given is one, at every level; values are not checked."""
    kind, _ = _parted(kind)
    if not _is_table(kind):
        return
    if isinstance(given, Present):
        problems.append(_no_table(given))
    elif dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        _known(hints, given, place, path, problems)
        for name in given.keys() & hints.keys():
            _names(hints[name], given[name], place, f"{path}.{name}" if path else name, problems)
    else:
        for name, below in given.items():
            _names(get_args(kind)[1], below, place, f'{path}."{name}"', problems)


def _known(hints: Mapping[str, Any], tree: Mapping[str, Any], place: str, path: str, problems: list[str]) -> None:
    for key in tree:
        if key not in hints:
            where = f"{path}.{key}" if path else key
            problems.append(
                f"{place}: {where}: there is no such setting{_nearest(key, hints)}; remove it or correct its name"
            )


def _no_table(given: Present) -> str:
    return f"{given.place}: this must be a table of settings, not {_shown(given.value)}"


def _dataclass(schema: Any, tree: Mapping[str, Any], place: str, path: str, problems: list[str]) -> Any:
    hints = _hints(schema)
    _known(hints, tree, place, path, problems)
    values: dict[str, Any] = {}
    before = len(problems)
    for field in dataclasses.fields(schema):
        where = f"{path}.{field.name}" if path else field.name
        if field.name in tree:
            values[field.name] = _value(hints[field.name], tree[field.name], place, where, problems)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"{place}: {where}: this setting is missing and has no default; add it")
    if len(problems) > before:
        return None
    try:
        return schema(**values)
    except ValueError as error:  # what fields may not be together, from the dataclass's own __post_init__
        problems.append(f"{place}: {path}: {error}" if path else f"{place}: {error}")
        return None


def _value(kind: Any, given: Any, place: str, path: str, problems: list[str]) -> Any:
    kind, checks = _parted(kind)
    if _is_table(kind):
        if isinstance(given, Present):
            problems.append(_no_table(given))
            return None
        if dataclasses.is_dataclass(kind):
            return _dataclass(kind, given, place, path, problems)
        inner = get_args(kind)[1]
        return types.MappingProxyType(
            {name: _value(inner, below, place, f'{path}."{name}"', problems) for name, below in given.items()}
        )
    if not isinstance(given, Present):
        problems.append(f"{place}: {path}: this must be {_described(kind)}, not a table")
        return None
    try:
        value = _text(kind, given.value) if given.text else _leaf(kind, given.value)
    except ValueError as error:
        problems.append(f"{given.place}: {error}")
        return None
    for check in checks:
        fault = check(value)
        if fault is not None:
            problems.append(f"{given.place}: {fault}")
            return None
    return value


def _text(kind: Any, text: str) -> Any:
    """`text` from an environment variable as the `kind` of value its setting needs; ValueError if it is not one."""
    if kind is bool:
        if text.lower() in {"true", "false"}:
            return text.lower() == "true"
        raise ValueError(f"this must be true or false, not {text!r}")
    if kind in {int, float}:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"this must be {_described(kind)}, not {text!r}") from None
    if get_origin(kind) is tuple:
        return _leaf(kind, [part.strip() for part in text.split(",") if part.strip()])
    return _leaf(kind, text)


def _leaf(kind: Any, value: Any) -> Any:
    """A TOML `value` as the `kind` its setting needs; ValueError if it is not one."""
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_leaf(get_args(kind)[0], part) for part in value)
    if kind is float and type(value) is int:
        return float(value)
    if kind in {bool, int, float, str} and type(value) is kind:
        return value
    if kind is Path and type(value) is str and value:
        return Path(value)
    parse = getattr(kind, "parse", None)
    if parse is not None and type(value) is str:
        return parse(value)
    raise ValueError(f"this must be {_described(kind)}, not {_shown(value)}")


def _parted(kind: Any) -> tuple[Any, tuple[Callable[[Any], str | None], ...]]:
    """The bare type in `kind`, without «or None» (which only says that there is no default), and its constraints."""
    checks: tuple[Callable[[Any], str | None], ...] = ()
    while True:
        origin = get_origin(kind)
        if origin is Annotated:
            kind, *extra = get_args(kind)
            checks += tuple(check for check in extra if callable(check))
        elif origin in {typing.Union, types.UnionType}:
            kind = next(part for part in get_args(kind) if part is not type(None))
        elif origin is typing.Literal:
            return str, checks
        else:
            return kind, checks


def _is_table(kind: Any) -> bool:
    if get_origin(kind) is Mapping:
        return True
    return dataclasses.is_dataclass(kind) and not hasattr(kind, "parse")


def _hints(schema: Any) -> dict[str, Any]:
    return typing.get_type_hints(schema, include_extras=True)


def _described(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "a list of texts"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
    return names.get(kind, "a text")


def _shown(value: Any) -> str:
    """`value` for a message: its kind only where it may be long or secret."""
    return repr(value) if isinstance(value, bool | int | float) else f"a {type(value).__name__}"


def _nearest(name: str, names: Iterable[str], show: Callable[[str], str] = str) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {show(close[0])}?)" if close else ""
