"""Billio's table with many items in it, and the commands that work over the whole of it, run as an operator runs them.

Items are real titles many times over, under ids of their own (`tests.data`).
"""

import base64
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.data import catalogue
from tests.equality import as_boto3_has_it
from tests.integration.forked import Ran, crossfade
from tests.proxy_process import settings_text
from tests.standins.billio import HASH_KEY, TABLE, dynamodb_client
from tests.standins.processes import bare_environment

Item = dict[str, dict[str, Any]]

_SPACE = uuid.UUID("5ce2c5a1-9a0e-4c51-8a34-6ad7d5d9a1f0")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def billio_items(count: int) -> list[Item]:
    """So many items as DynamoDB's JSON has them: the catalogue, then copies of it under other ids, references too."""
    once = catalogue()
    items: list[Item] = []
    for copy in range(-(-count // len(once))):
        items += once if copy == 0 else [_copied(item, copy) for item in catalogue()]
    return items[:count]


def _copied(item: Item, copy: int) -> Item:
    identity = str(uuid.uuid5(_SPACE, f"{copy}/{item['id']['S']}"))
    item |= {"id": {"S": identity}, HASH_KEY: {"S": f"{item['type']['S']}:{identity}"}}
    if "seriesId" in item:
        item["seriesId"] = {"S": str(uuid.uuid5(_SPACE, f"{copy}/{item['seriesId']['S']}"))}
    return item


def load(endpoint: str, items: Iterable[Item], table: str = TABLE) -> None:
    """Put them, 25 at a time."""
    client = dynamodb_client(endpoint)
    requests = [{"PutRequest": {"Item": {n: as_boto3_has_it(value) for n, value in item.items()}}} for item in items]
    portions = [requests[first : first + 25] for first in range(0, len(requests), 25)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda some: client.batch_write_item(RequestItems={table: some}), portions))


# --- the plan's backups, and exports to S3 ----------------------------------------------------------------------------


def write_backup(folder: Path, items: Iterable[Item]) -> Path:
    """What packages/backup writes: one array a type, as an application sees the items, with ISO dates."""
    folder.mkdir()
    by_type: dict[str, list[str]] = {}
    for item in items:
        by_type.setdefault(item["type"]["S"], []).append(_as_json(item))
    for item_type, objects in by_type.items():
        (folder / f"{item_type}.json").write_text("[\n " + ",\n ".join(objects) + "\n]\n", "utf-8")
    return folder


def _as_json(item: Item) -> str:
    shown = {name: _plain(value) for name, value in item.items() if name not in (HASH_KEY, "type:shelf", "category")}
    for name in ("movedAt", "addedAt"):
        if "N" in item.get(name, {}):
            at = _EPOCH + timedelta(milliseconds=int(item[name]["N"]))
            shown[name] = json.dumps(at.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
    return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {text}" for name, text in shown.items()) + "}"


def _plain(value: dict[str, Any]) -> str:
    """JSON's text; a number keeps its digits. Sets become arrays, binary its base64: JSON has no better."""
    ((tag, content),) = value.items()
    if tag == "N":
        return str(content)
    if tag == "NS":
        return "[" + ", ".join(content) + "]"
    if tag == "L":
        return "[" + ", ".join(_plain(each) for each in content) + "]"
    if tag == "M":
        inner = (f"{json.dumps(name, ensure_ascii=False)}: {_plain(each)}" for name, each in content.items())
        return "{" + ", ".join(inner) + "}"
    return "null" if tag == "NULL" else json.dumps(content, ensure_ascii=False)


def write_export(
    folder: Path, items: list[Item], *, files: int = 3, table: str = TABLE, summary: Mapping[str, Any] | None = None
) -> Path:
    """What DynamoDB writes to S3, as its developer guide shows it: manifests with checksums, gzipped JSON lines."""
    lines = [json.dumps({"Item": item}, ensure_ascii=False) for item in items]
    return write_export_lines(folder, [lines[n::files] for n in range(files)], table=table, summary=summary)


def write_export_lines(
    folder: Path, files: list[list[str]], *, table: str = TABLE, summary: Mapping[str, Any] | None = None
) -> Path:
    """The same, line by line."""
    prefix = "AWSDynamoDB/01693685827463-2d8752fd"
    (folder / "data").mkdir(parents=True)
    listed = []
    for number, lines in enumerate(files):
        content = gzip.compress("".join(line + "\n" for line in lines).encode(), mtime=0)
        name = f"{number:02d}asdl123dasas.json.gz"
        (folder / "data" / name).write_bytes(content)
        digest = hashlib.md5(content)
        entry = {
            "itemCount": len(lines),
            "md5Checksum": base64.b64encode(digest.digest()).decode(),
            "etag": f"{digest.hexdigest()}",
            "dataFileS3Key": f"{prefix}/data/{name}",
        }
        listed.append(json.dumps(entry))
    arn = f"arn:aws:dynamodb:us-east-1:123456789012:table/{table}"
    document = {
        "version": "2020-06-30",
        "exportArn": f"{arn}/export/01693685827463-2d8752fd",
        "startTime": "2023-09-02T20:17:07.463Z",
        "endTime": "2023-09-02T20:22:15.153Z",
        "tableArn": arn,
        "exportTime": "2023-09-02T20:17:07.463Z",
        "s3Bucket": "exports",
        "s3Prefix": None,
        "manifestFilesS3Key": f"{prefix}/manifest-files.json",
        "itemCount": sum(len(lines) for lines in files),
        "outputFormat": "DYNAMODB_JSON",
        "exportType": "FULL_EXPORT",
        **(summary or {}),
    }
    for name, text in (("manifest-summary", json.dumps(document)), ("manifest-files", "\n".join(listed) + "\n")):
        (folder / f"{name}.json").write_text(text, "utf-8")
        checksum = base64.b64encode(hashlib.md5(text.encode()).digest()).decode()
        (folder / f"{name}.checksum").write_text(checksum, "utf-8")
    return folder


# --- the commands -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Operator:
    """Runs `crossfade` against a pair of stores, with settle times that suit stand-ins: `run` in a fork, which saves
    its start; `killed` and `started` as the program that it is."""

    endpoint: str
    dsn: str
    folder: Path
    mappings: tuple[Path, ...]
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str) -> Ran:
        words = (*arguments, "--config", str(self._settings()))
        return crossfade(*words, environment=self._environment(), folder=self.folder)

    def killed(self, *arguments: str, after: float) -> bool:
        """Start it and SIGKILL it after so many seconds. Whether it was still running then."""
        with self.started(*arguments) as child:
            try:
                child.communicate(timeout=after)
            except subprocess.TimeoutExpired:
                os.kill(child.pid, signal.SIGKILL)
                child.communicate(timeout=60)
                return True
            return False

    @contextmanager
    def started(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        command = [str(Path(sys.executable).with_name("crossfade")), *arguments, "--config", str(self._settings())]
        child = subprocess.Popen(
            command,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()
                child.communicate(timeout=60)

    def _settings(self) -> Path:
        settings = self.folder / "crossfade.toml"
        text = settings_text(
            dynamodb=self.endpoint,
            dsql=self.dsn,
            journal=self.folder / "journal.sqlite",
            stage="dualwrite",
            mappings=self.mappings,
        )
        settings.write_text(text, "utf-8")
        return settings

    def _environment(self) -> dict[str, str]:
        return bare_environment() | {
            "HOME": str(self.folder),
            "CROSSFADE_DYNAMODB__SETTLE_SECONDS": "0.3",
            "CROSSFADE_DSQL__SETTLE_SECONDS": "0.3",
            "CROSSFADE_LOG__LEVEL": "error",
            **self.environment,
        }
