"""Random writes by a seed: what an application under load does to a table, on few keys so that they meet.

A writer never stops for a refusal or a lost connection: it notes what it was answered and goes on.
"""

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.standins.billio import HASH_KEY, TABLE

Item = dict[str, dict[str, Any]]
Keys = Sequence[Item]

_NAMES = random.Random(7)
_BILLIO_TYPES = ("Book", "VideoGame", "Feature", "TvSeries", "TvSeason")
BILLIO_KEYS: Keys = tuple(
    {HASH_KEY: {"S": f"{kind}:{uuid.UUID(int=_NAMES.getrandbits(128))}"}} for kind in _BILLIO_TYPES for _ in range(5)
)


def billio_item(dice: random.Random, key: Item) -> Item:
    """A whole item of Billio's for a key, with what `saveUnknown` lets in."""
    kind, _, identity = key[HASH_KEY]["S"].partition(":")
    shelf = dice.choice(("Reading", "Read", "Shelved"))
    item: Item = {
        **key,
        "type": {"S": kind},
        "id": {"S": identity},
        "shelf": {"S": shelf},
        "type:shelf": {"S": f"{kind}:{shelf}"},
        "title": {"S": dice.choice(("Solaris", "Middlemarch", "Tetris", "Ä–雪")) + str(dice.randrange(9))},
        "movedAt": {"N": str(1_700_000_000_000 + dice.randrange(100))},
        "addedAt": {"N": str(1_600_000_000_000 + dice.randrange(100))},
        "rating": {"N": dice.choice(("8", "8.5", "10", "0.125", "3.14159265358979"))},
        "count": {"N": str(dice.randrange(10))},
    }
    for name, value in _extras(dice).items():
        if dice.random() < 0.4:
            item[name] = value
    if kind == "TvSeason":
        item |= {"seriesId": {"S": f"series-{dice.randrange(3)}"}, "seasonNumber": {"N": str(dice.randrange(5))}}
    return item


def _extras(dice: random.Random) -> Item:
    return {
        "notes": {"S": dice.choice(("", "fine", "a\tb\n\u0000c"))},
        "tags": {"SS": sorted(dice.sample(["a", "b", "c", "$S"], dice.randint(1, 4)))},
        "marks": {"NS": [str(n) for n in dice.sample(range(-3, 3), 2)]},
        "raw": {"B": dice.randbytes(6)},
        "image": {"M": {"url": {"S": "https://x.example/1"}, "width": {"N": "640"}, "$odd": {"NULL": True}}},
        "list": {"L": [{"BOOL": True}, {"N": "1E+40"}, {"M": {}}, {"L": []}]},
        "precise": {"N": "1234567890123456789012345678901234567.8"},
    }


@dataclass(slots=True)
class Writers:
    """Threads that write until `stop` (or `calls` each), every one with a seed and a client of its own.

    `answers` counts what came back by error code, or `ok`; `slowest` is in seconds.
    """

    make_client: Callable[[], Any]
    seed: int
    keys: Keys = BILLIO_KEYS
    table: str = TABLE
    make_item: Callable[[random.Random, Item], Item] = billio_item
    threads: int = 4
    calls: int | None = None
    answers: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    _stopping: threading.Event = field(default_factory=threading.Event)
    _running: list[Future[None]] = field(default_factory=list)

    def start(self) -> "Writers":
        print(f"seed {self.seed}")  # pytest shows it where a test fails
        pool = ThreadPoolExecutor(self.threads)
        self._running = [pool.submit(self._write, number) for number in range(self.threads)]
        pool.shutdown(wait=False)
        return self

    def stop(self) -> None:
        """Let each finish its call, and raise what went wrong in one of them."""
        self._stopping.set()
        self.join()

    def join(self) -> None:
        """Wait until all have made their calls, and raise what went wrong in one of them."""
        for each in self._running:
            each.result(120)

    @property
    def total(self) -> int:
        return sum(self.answers.values())

    def _write(self, number: int) -> None:
        dice = random.Random(self.seed * 1000 + number)
        client = self.make_client()
        made = 0
        while not self._stopping.is_set() and (self.calls is None or made < self.calls):
            self._note(client, *one_write(dice, self.table, self.keys, self.make_item))
            made += 1

    def _note(self, client: Any, operation: str, arguments: dict[str, Any]) -> None:
        began = time.monotonic()
        try:
            getattr(client, operation)(**arguments)
        except ClientError as error:
            self.answers[error.response["Error"]["Code"]] += 1
        except BotoCoreError as error:
            self.answers[type(error).__name__] += 1
            time.sleep(0.02)  # the proxy is down: do not spin
        else:
            self.answers["ok"] += 1
        self.slowest = max(self.slowest, time.monotonic() - began)


def one_write(
    dice: random.Random, table: str, keys: Keys, make_item: Callable[[random.Random, Item], Item]
) -> tuple[str, dict[str, Any]]:
    """A client method with its arguments: each way that DynamoDB has to write, with and without conditions."""
    key = dice.choice(keys)
    on_key = {"TableName": table, "Key": key}
    name = next(iter(key))
    match dice.randrange(12):
        case 0 | 1 | 2:
            return "put_item", {"TableName": table, "Item": make_item(dice, key)}
        case 3:
            return "put_item", {
                "TableName": table,
                "Item": make_item(dice, key),
                "ConditionExpression": "attribute_not_exists(#k)",
                "ExpressionAttributeNames": {"#k": name},
            }
        case 4 | 5:
            return "update_item", {
                **on_key,
                "UpdateExpression": "ADD #c :one SET #t = :t",
                "ConditionExpression": "attribute_exists(#k)",
                "ExpressionAttributeNames": {"#c": "count", "#t": "touched", "#k": name},
                "ExpressionAttributeValues": {":one": {"N": "1"}, ":t": {"N": str(dice.randrange(1000))}},
                "ReturnValues": dice.choice(("NONE", "ALL_NEW", "UPDATED_NEW", "ALL_OLD")),
            }
        case 6:
            return "update_item", {
                **on_key,
                "UpdateExpression": "SET #l = list_append(if_not_exists(#l, :none), :more) REMOVE #n",
                "ConditionExpression": "#c < :limit",
                "ExpressionAttributeNames": {"#l": "list", "#n": "notes", "#c": "count"},
                "ExpressionAttributeValues": {
                    ":none": {"L": []},
                    ":more": {"L": [{"N": "7"}]},
                    ":limit": {"N": str(dice.randrange(30))},
                },
            }
        case 7 | 8:
            return "delete_item", {**on_key, "ReturnValues": dice.choice(("NONE", "ALL_OLD"))}
        case 9:
            chosen = dice.sample(keys, 4)
            puts = [{"PutRequest": {"Item": make_item(dice, each)}} for each in chosen[:3]]
            return "batch_write_item", {"RequestItems": {table: [*puts, {"DeleteRequest": {"Key": chosen[3]}}]}}
        case _:
            return "transact_write_items", {"TransactItems": _transaction(dice, table, keys, make_item)}


def _transaction(
    dice: random.Random, table: str, keys: Keys, make_item: Callable[[random.Random, Item], Item]
) -> list[dict[str, Any]]:
    put, update, delete, check = dice.sample(keys, 4)
    names = {"#k": next(iter(put))}
    return [
        {"Put": {"TableName": table, "Item": make_item(dice, put)}},
        {
            "Update": {
                "TableName": table,
                "Key": update,
                "UpdateExpression": "ADD #c :one",
                "ConditionExpression": "attribute_exists(#k)",
                "ExpressionAttributeNames": names | {"#c": "count"},
                "ExpressionAttributeValues": {":one": {"N": "1"}},
            }
        },
        {"Delete": {"TableName": table, "Key": delete}},
        {
            "ConditionCheck": {
                "TableName": table,
                "Key": check,
                "ConditionExpression": dice.choice(("attribute_exists(#k)", "attribute_not_exists(#k)")),
                "ExpressionAttributeNames": names,
            }
        },
    ]
