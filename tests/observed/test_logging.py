"""docs/logging.md against the sources: every event of structlog's, with its level and its fields, and no other."""

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEVELS = ("debug", "info", "warning", "error", "exception")
_ROW = re.compile(r"^\| `(\w+)` \| ([\w, ]+) \| ([^|]*) \| [^|]+ \|$", re.MULTILINE)


@dataclass
class Event:
    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    open: bool = False
    """Whether it has fields that the source does not name at the call."""


def _calls(tree: ast.AST) -> Iterator[tuple[ast.Call, set[str]]]:
    """Calls of a logger, with the levels they may have."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        choices = [node.func.body, node.func.orelse] if isinstance(node.func, ast.IfExp) else [node.func]
        levels = {each.attr for each in choices if isinstance(each, ast.Attribute) and _is_log(each.value)}
        if levels and levels <= set(LEVELS) and node.args:
            yield node, levels


def _is_log(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return "get_logger" in ast.dump(node.func)
    return (isinstance(node, ast.Name) and node.id == "log") or (
        isinstance(node, ast.Attribute) and node.attr == "_log"
    )


def _names(argument: ast.expr, tree: ast.AST) -> set[str]:
    """What an event may be called: written there, chosen there, or given to the function around it."""
    if isinstance(argument, ast.Constant):
        return {str(argument.value)}
    if isinstance(argument, ast.IfExp):
        return _names(argument.body, tree) | _names(argument.orelse, tree)
    assert isinstance(argument, ast.Name), ast.unparse(argument)
    around = {
        f.name for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and argument.id in {a.arg for a in f.args.args}
    }
    return {
        str(call.args[0].value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in around
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }


@functools.cache
def in_sources() -> dict[str, Event]:
    found: dict[str, Event] = {}
    for path in sorted((ROOT / "proxy").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for call, levels in _calls(tree):
            for name in _names(call.args[0], tree):
                event = found.setdefault(name, Event())
                event.levels |= levels
                event.fields |= {each.arg for each in call.keywords if each.arg is not None} - {"exc_info"}
                event.open |= any(each.arg is None for each in call.keywords)
    return found


def in_docs() -> dict[str, Event]:
    text = (ROOT / "docs" / "logging.md").read_text(encoding="utf-8")
    return {
        name: Event(set(levels.split(", ")), set(re.findall(r"`(\w+)`", fields)))
        for name, levels, fields in _ROW.findall(text)
    }


def test_every_event_is_in_the_docs() -> None:
    assert sorted(set(in_sources()) - set(in_docs())) == [], "add these to docs/logging.md"
    assert sorted(set(in_docs()) - set(in_sources())) == [], "docs/logging.md has events that nothing says any more"


def test_levels_and_fields_are_those_of_the_sources() -> None:
    sources, docs = in_sources(), in_docs()
    for name in set(sources) & set(docs):
        said, told = sources[name], docs[name]
        assert told.levels == said.levels, name
        assert told.fields >= said.fields, f"{name}: {sorted(said.fields - told.fields)} are not in docs/logging.md"
        assert said.open or told.fields == said.fields, f"{name}: {sorted(told.fields - said.fields)} are said nowhere"


def test_the_sources_are_read() -> None:
    sources = in_sources()
    assert {"verdict", "stage_moved", "stage_kept", "stream_missing", "lease_lost"} <= set(sources)
    assert sources["verdict"].levels == {"info", "warning"}
