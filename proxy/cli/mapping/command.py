"""`crossfade mapping`: draft a mapping from a table, or write what the new code needs to know of one."""

from __future__ import annotations

from typing import Any

from proxy.cli.mapping import export, init


def add(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    mapping = commands.add_parser("mapping", help="draft a mapping file from a table, or export one for an ORM")
    actions = mapping.add_subparsers(dest="action", required=True)
    init.add(actions)
    export.add(actions)
