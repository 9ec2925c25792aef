"""Settings from a TOML file and `CROSSFADE_…` variables. Relative paths are resolved against the file."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from proxy.settings.ports import PREFIX, AdminTokens
from proxy.settings.settings import Settings
from proxy.settings.validation import SettingsError, read, read_section

_PATHS: Final = {
    "journal": ("path",),
    "admin": ("read_token_file", "operator_token_file", "tls_cert", "tls_key"),
    "items": ("read_token_file", "write_token_file", "cursor_secret_file"),
}


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Settings from the TOML file at `path` (None: defaults) and the `CROSSFADE_…` variables of `environ`.

    Raises SettingsError for a file that cannot be read, is not TOML, or has settings that are wrong.
    """
    return read(Settings, _table(path), _place(path), environ, PREFIX)


def load_admin_tokens(path: Path | None, environ: Mapping[str, str]) -> AdminTokens:
    """The admin port's tokens alone, from where `load` has them. All else may be wrong here, but for its names: whoever
    calls a proxy need not have the proxy's files and its mirror's address.

    Raises SettingsError.
    """
    return read_section(AdminTokens, "admin", Settings, _table(path), _place(path), environ, PREFIX)


def _place(path: Path | None) -> str:
    return str(path or "settings")


def _table(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return _beside(tomllib.loads(path.read_text(encoding="utf-8")), path)
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror or error}: give the path of a readable file"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: this is not TOML: {error}"]) from None


def _beside(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """`table` with its paths resolved against the file's folder. What is not a path is left to be refused."""
    table = dict(table)
    mappings = table.get("mappings")
    if isinstance(mappings, list):
        table["mappings"] = [str(path.parent / name) if isinstance(name, str) else name for name in mappings]
    for name in ("tls_cert", "tls_key"):
        if isinstance(table.get(name), str):
            table[name] = str(path.parent / table[name])
    for section, names in _PATHS.items():
        for name in names:
            _move(table, section, name, path.parent)
    auth = table.get("auth")
    if isinstance(auth, dict) and isinstance(auth.get("keys"), dict):
        keys = dict(auth["keys"])
        for access_key_id in keys:
            _move(keys, access_key_id, "secret_access_key_file", path.parent)
        table["auth"] = auth | {"keys": keys}
    return table


def _move(table: dict[str, Any], section: str, name: str, folder: Path) -> None:
    """The path at `name` in `section`, if there is one, is one in `folder`."""
    inside = table.get(section)
    if isinstance(inside, dict) and isinstance(inside.get(name), str):
        table[section] = inside | {name: str(folder / inside[name])}
