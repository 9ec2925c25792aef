"""The mapping files that the settings name, read all together. Reads files, knows no store: a check starts at once."""

from __future__ import annotations

from proxy.mapping.load import LoadedMapping, MappingError, load
from proxy.settings import Settings
from proxy.settings.validation import SettingsError


def load_mappings(settings: Settings) -> dict[str, LoadedMapping]:
    """The mapping files by table. Raises SettingsError, naming the file and the place."""
    mapped: dict[str, LoadedMapping] = {}
    for path in settings.mappings or ():
        if not path.is_file():
            raise SettingsError([f"mappings: {path}: there is no such file: correct its name in the settings"])
        try:
            table = load(path)
        except MappingError as error:
            raise SettingsError([str(error)]) from error
        if table.mapping.table in mapped:
            raise SettingsError([f"{path}: table {table.mapping.table!r} has a mapping already; name one file a table"])
        mapped[table.mapping.table] = table
    return mapped
