"""`python -m dashboards` writes the dashboards that Grafana reads; with `--check` it only says which are stale."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from dashboards.cutover import cutover
from dashboards.mismatches import mismatches
from dashboards.stores import stores

FOLDER: Final = Path(__file__).parent / "grafana"


def texts() -> dict[str, str]:
    """Each file's name, and what stands in it."""
    made = {"cutover": cutover(), "mismatches": mismatches(), "stores": stores()}
    return {f"{name}.json": json.dumps(each, indent=1, sort_keys=True) + "\n" for name, each in made.items()}


def stale() -> list[str]:
    """The files that are not what the code makes now."""
    return [
        name
        for name, text in texts().items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]


def main() -> int:
    if "--check" in sys.argv[1:]:
        for name in stale():
            sys.stderr.write(f"dashboards/grafana/{name} is stale: make dashboards\n")
        return 1 if stale() else 0
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
