"""`crossfade mapping export`: write a mapped table's schema for the code that will speak SQL.

Reads settings and mapping files, and asks no store. Exit status 0: the schema is written; 2: wrong settings or
arguments.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # importing these takes most of a second, which other commands need not wait for
    from proxy.mapping.load import LoadedMapping
    from proxy.settings import Settings

_FORMATS: Final = ("drizzle", "sqlalchemy", "sql", "json-schema")


def add(actions: Any) -> None:
    """Add the action to those of `crossfade mapping`."""
    export = actions.add_parser("export", help="write a mapped table's schema for an ORM, as SQL, or as JSON Schema")
    export.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML); without it, the defaults")
    export.add_argument("--table", metavar="NAME", help="the table's name in DynamoDB; not needed if one has a mapping")
    export.add_argument("--format", choices=_FORMATS, required=True, help="what to write")
    export.add_argument("--out", type=Path, metavar="FILE", help="where to write it (standard output); overwritten")
    export.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command. Raises SettingsError."""
    from proxy.mapping.load import load_mappings
    from proxy.migrate.mapping_export.drizzle import render_drizzle
    from proxy.migrate.mapping_export.json_schema import render_json_schema
    from proxy.migrate.mapping_export.relation import relation_of
    from proxy.migrate.mapping_export.sql import render_sql
    from proxy.migrate.mapping_export.sqlalchemy import render_sqlalchemy
    from proxy.settings.validation import SettingsError

    loaded = _chosen(load_mappings(settings), arguments.table)
    renderers = (render_drizzle, render_sqlalchemy, render_sql, render_json_schema)
    render = dict(zip(_FORMATS, renderers, strict=True))[arguments.format]
    try:
        text = render(relation_of(loaded))
    except ValueError as error:
        raise SettingsError([f"{loaded.mapping.table}: {error}"]) from error
    if arguments.out is None:
        sys.stdout.write(text)
        return 0
    try:
        arguments.out.write_text(text, "utf-8")
    except OSError as error:
        raise SettingsError([f"{arguments.out}: {error.strerror}: give an --out that can be written"]) from error
    sys.stdout.write(f"{arguments.out}: {arguments.format} of {loaded.mapping.table}\n")
    return 0


def _chosen(mappings: dict[str, LoadedMapping], table: str | None) -> LoadedMapping:
    """The mapping of one table. Raises SettingsError where there is none, or several and no name."""
    from proxy.settings.validation import SettingsError

    names = ", ".join(sorted(mappings))
    if not mappings:
        raise SettingsError(["mappings: no mapping file is named: name one, or draft one with crossfade mapping init"])
    if table is None and len(mappings) > 1:
        raise SettingsError([f"--table: several tables have a mapping, name one of them: {names}"])
    name = table if table is not None else next(iter(mappings))
    if name not in mappings:
        near = difflib.get_close_matches(name, mappings, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"tables with a mapping: {names}"
        raise SettingsError([f"--table: {name!r} has no mapping; {hint}"])
    return mappings[name]
