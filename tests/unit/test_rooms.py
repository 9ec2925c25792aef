"""The house: which room may import which, and how large a room, a file and a signature may be.

The arrows are those of docs/architecture.md. Inside a room, at every depth, no two parts import each other.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
LINES: Final = 400
FILES: Final = 16
PARAMETERS: Final = 8

# A room may import rooms further down. Rooms of one line do not import each other.
FLOORS: Final = (
    {"__main__"},
    {"cli"},
    {"app"},
    {"migrate", "stream", "tracing", "items"},
    {"shadow", "wire", "admin"},
    {"cutover", "web"},
    {"stores"},
    {"mapping", "verdicts"},
    {"settings", "metrics", "comparators", "off_loop"},
    {"dynamodb"},
    {"background_tasks", "formatting", "logs", "problems", "signals", "version"},
)
# What a pure room may not import: whatever reads a clock of the loop, a socket, a file or a database.
PURE: Final = {"comparators", "proxy.dynamodb", "proxy.mapping", "proxy.cutover.gate.criteria"}
IO: Final = {"aioboto3", "aiohttp", "asyncio", "asyncpg", "boto3", "botocore", "os", "socket", "sqlite3", "structlog"}
# Reads mapping files; the rest of the room gets what it has read.
READS_FILES: Final = {"proxy.mapping.load"}


@cache
def sources() -> dict[str, ast.Module]:
    """Every module of the product, by its dotted name."""
    found = {}
    for top in ("proxy", "comparators"):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = ast.parse(path.read_text("utf-8"))
    return found


@cache
def imports() -> tuple[tuple[str, str], ...]:
    """(importing module, imported module), wherever in the file the import stands."""
    found = []
    for name, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found += [(name, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    found.append((name, whole if whole in sources() else node.module))
    return tuple(found)


def room(module: str) -> str:
    """The room that a module of the product stands in: `proxy.shadow.journal.wal` in `shadow`."""
    first, _, rest = module.partition(".")
    return rest.partition(".")[0] if first == "proxy" else first


def ours() -> Iterator[tuple[str, str]]:
    for importing, imported in imports():
        if imported in sources() and imported != "proxy":
            yield importing, imported


def test_rooms_import_only_rooms_further_down() -> None:
    floors = {name: number for number, names in enumerate(FLOORS) for name in names}
    unknown = {room(name) for name in sources()} - floors.keys() - {""}
    assert not unknown, f"say in FLOORS where {sorted(unknown)} stand"
    up = [
        f"{importing} imports {imported}"
        for importing, imported in ours()
        if room(importing) not in ("", room(imported)) and floors[room(importing)] >= floors[room(imported)]
    ]
    assert not up, "against the arrows of docs/architecture.md:\n" + "\n".join(up)


def test_no_two_parts_of_a_room_import_each_other() -> None:
    """At every depth: between the modules and folders of one folder, imports make no circle."""
    edges: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    witnesses: dict[tuple[str, str], str] = {}
    for importing, imported in ours():
        one, two = importing.split("."), imported.split(".")
        depth = next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), None)
        if depth is None:
            continue  # a folder's __init__ and what is in it
        a, b = ".".join(one[: depth + 1]), ".".join(two[: depth + 1])
        edges[".".join(one[:depth])][a].add(b)
        witnesses.setdefault((a, b), f"{importing} imports {imported}")
    circles = []
    for graph in edges.values():
        for start in sorted(graph):
            circle = _circle(graph, start)
            if circle is not None:
                circles.append("\n".join(f"  {witnesses[pair]}" for pair in pairwise(circle)))
                break
    assert not circles, "a circle of imports:\n" + "\n and\n".join(circles)


def _circle(graph: dict[str, set[str]], start: str) -> list[str] | None:
    """A way from a part back to itself; None where there is none."""
    ways = [[start]]
    seen = set()
    while ways:
        way = ways.pop()
        for after in sorted(graph.get(way[-1], ())):
            if after == start:
                return [*way, after]
            if after not in seen:
                seen.add(after)
                ways.append([*way, after])
    return None


def test_pure_rooms_do_no_io() -> None:
    impure = [
        f"{importing} imports {imported}"
        for importing, imported in imports()
        if any(importing == pure or importing.startswith(f"{pure}.") for pure in PURE)
        and imported.partition(".")[0] in IO
        and importing not in READS_FILES
    ]
    assert not impure, "\n".join(impure)


def test_only_the_room_of_dsql_sends_sql() -> None:
    """`migrate` opens connections of its own for DDL, and the doctor to ask; nobody else names the driver."""
    allowed = ("proxy.stores.dsql", "proxy.migrate", "proxy.cli.migrate", "proxy.cli.mapping", "proxy.cli.doctor")
    named = [importing for importing, imported in imports() if imported.partition(".")[0] == "asyncpg"]
    assert not [name for name in named if not name.startswith(allowed)]


def test_no_folder_is_too_full() -> None:
    folders = Counter(
        path.parent.relative_to(ROOT) for path in _files() if path.name != "__init__.py"
    )  # fmt: skip
    full = {str(folder): count for folder, count in folders.items() if count > FILES}
    assert not full, f"more than {FILES} files in {full}"


def test_no_file_is_too_long() -> None:
    long = {str(path.relative_to(ROOT)): lines for path in _files() if (lines := _lines(path)) > LINES}
    assert not long, f"more than {LINES} lines: {long}"


def test_no_two_public_classes_have_one_name() -> None:
    where: dict[str, list[str]] = defaultdict(list)
    for name, tree in sources().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(name)
    twice = {name: modules for name, modules in where.items() if len(modules) > 1}
    assert not twice, f"one name for two things: {twice}"


def test_no_function_takes_too_many_parameters() -> None:
    many = {}
    for name, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                taken = node.args
                own = [each for each in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs) if each.arg not in _SELF]
                if len(own) > PARAMETERS:
                    many[f"{name}.{node.name}"] = len(own)
    assert not many, f"more than {PARAMETERS} parameters: {many}"


_SELF: Final = frozenset({"self", "cls"})


def _files() -> list[Path]:
    return [path for top in ("proxy", "comparators") for path in (ROOT / top).rglob("*.py")]


def _lines(path: Path) -> int:
    return path.read_text("utf-8").count("\n")


@pytest.mark.parametrize("module", sorted(sources()))
def test_every_module_says_what_it_is_for(module: str) -> None:
    text = ast.get_docstring(sources()[module])
    package = any(other.startswith(f"{module}.") for other in sources())
    assert text or package, f"{module} begins with no docstring"
