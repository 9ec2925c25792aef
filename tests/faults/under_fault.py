"""What every test of faults asks: a small story by a seed, how clients fared in it, and whether the proxy leaks.

The same story told past the proxy to a table of its own must be answered word for word alike, whatever the mirror does.
"""

import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
from botocore.exceptions import BotoCoreError, ClientError

from tests.integration.scenes import Scene, wait_until
from tests.integration.writers import billio_item, one_write
from tests.standins.billio import HASH_KEY, INDEXES, TABLE

Call = tuple[str, dict[str, Any]]

# What DynamoDB answers to a request that it understood and did not fail at: nothing a fault may add to.
DECIDED = frozenset({"ok", "ConditionalCheckFailedException", "TransactionCanceledException"})
RETRYABLE = frozenset({"InternalServerError", "ServiceUnavailableException"})
# What the proxy logs of its own faults, never of a store's.
_OWN_FAULTS = ("request_failed", "fault_behind_the_answer", "fault_in_a_loop", "Traceback", "never retrieved")
_KINDS = ("Book", "VideoGame", "Feature", "TvSeries", "TvSeason")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one call: `ok` or an error's code, the answer without its metadata, and how long it took."""

    code: str
    document: str
    seconds: float


def story(seed: int, calls: int = 30) -> list[Call]:
    """Writes of every kind on a few keys of this seed's own, with reads of every kind between them."""
    dice = random.Random(seed)
    keys = [{HASH_KEY: {"S": f"{kind}:{uuid.UUID(int=dice.getrandbits(128))}"}} for kind in _KINDS * 2]
    told: list[Call] = []
    for number in range(calls):
        told.append(one_write(dice, TABLE, keys, billio_item))
        if number % 3 == 2:
            told.append(_read(dice, keys))
    return told


def _read(dice: random.Random, keys: list[dict[str, dict[str, Any]]]) -> Call:
    some = dice.sample(keys, 4)
    match dice.randrange(4):
        case 0:
            return "get_item", {"TableName": TABLE, "Key": some[0], "ConsistentRead": True}
        case 1:
            return "batch_get_item", {"RequestItems": {TABLE: {"Keys": some}}}
        case 2:
            return "transact_get_items", {"TransactItems": [{"Get": {"TableName": TABLE, "Key": k}} for k in some]}
        case _:
            index, (name, _, _) = dice.choice([each for each in INDEXES.items() if each[1][0] == "type"])
            return "query", {
                "TableName": TABLE,
                "IndexName": index,
                "KeyConditionExpression": "#h = :h",
                "ExpressionAttributeNames": {"#h": name},
                "ExpressionAttributeValues": {":h": {"S": dice.choice(_KINDS)}},
            }


def tell(client: Any, calls: Iterable[Call], *, table: str = TABLE, at_once: int = 1) -> list[Answer]:
    """Make the calls, in their order or several at once, and note what each was answered."""

    def make(call: Call) -> Answer:
        operation, arguments = call
        began = time.monotonic()
        try:
            document = getattr(client, operation)(**_renamed(arguments, table))
            document.pop("ResponseMetadata")
            code = "ok"
        except ClientError as error:
            code, document = error.response["Error"]["Code"], error.response["Error"]
        except BotoCoreError as error:
            code, document = type(error).__name__, {}
        return Answer(code, json.dumps(_renamed(document, TABLE, table), default=repr), time.monotonic() - began)

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(make, calls))


def _renamed(value: Any, to: str, named: str = TABLE) -> Any:
    """The same with one table's name for another's, where names of tables stand."""
    text = json.dumps(value, default=lambda raw: {"$raw": raw.hex()}).replace(f'"{named}"', f'"{to}"')
    return json.loads(text, object_hook=lambda d: bytes.fromhex(d["$raw"]) if d.keys() == {"$raw"} else d)


def codes(answers: Iterable[Answer]) -> Counter[str]:
    return Counter(each.code for each in answers)


def mirror_failures(here: Scene) -> float:
    """How often the proxy has noticed that the mirror failed it."""
    metrics = here.proxy.metrics()
    retried = sum(value for _, value in metrics.get("crossfade_mirror_retries_total", ()))
    return retried + here.verdicts().get("mirror_error", 0)


def recovered(here: Scene) -> None:
    """The journal empties, both stores hold the same, and no comparison was taken for a mismatch."""
    here.assert_equal()
    counts = here.verdicts()
    assert not counts.get("mismatch"), here.proxy.mismatches()[:3]
    assert not counts.get("unrepresentable"), here.proxy.mismatches()[:3]
    assert here.proxy.status()["journal"] == {"keys": 0, "oldest_seconds": 0.0, "parked": 0}


def own_faults(here: Scene) -> list[str]:
    """Lines of the proxy's log that tell of a fault of its own."""
    lines = here.proxy.log_file.read_text("utf-8", errors="replace").splitlines()
    return [line[:2000] for line in lines if any(word in line for word in _OWN_FAULTS)]


@contextmanager
def nothing_leaks(here: Scene, *, files: int, tasks: int = 8) -> Iterator[None]:
    """At the end the proxy has at most so many more open files (sockets among them) and tasks than now."""
    process = psutil.Process(here.proxy.child.pid)
    before = process.num_fds(), _tasks(here), process.num_threads()
    assert before[1] > 0
    yield
    wait_until(lambda: process.num_fds() <= before[0] + files, 120, f"{before[0]} + {files} open files at most")
    wait_until(lambda: _tasks(here) <= before[1] + tasks, 120, f"{before[1]} + {tasks} tasks at most")
    assert process.num_threads() <= before[2] + 8
    assert own_faults(here) == []


def _tasks(here: Scene) -> float:
    return here.proxy.metrics()["crossfade_tasks"][0][1]
