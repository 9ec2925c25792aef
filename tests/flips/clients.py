"""Clients on few keys, each behind a round-robin of the proxies, as behind a load balancer. They retry nothing, so that
what each request was told is known.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from tests.flips.history import CHAINS, COUNTERS, PAIRS, REGISTERS, SETS, History, Result

TABLE: Final = "flips"
# By these DynamoDB says that it did nothing; any other 4xx does so too, and a 5xx leaves it open.
_NOTHING_DONE: Final = frozenset({"ServiceUnavailable", "ThrottlingException", "TransactionConflictException"})

Ask = Callable[[Any], Any]


class Client:
    """One thread. `clients` are boto3 clients, one for each proxy."""

    def __init__(
        self, name: str, clients: Sequence[Any], history: History, seed: int, stop: threading.Event, pause: float
    ) -> None:
        self.name = name
        self._dice = random.Random(f"{seed} {name}")
        turn = list(clients)
        self._dice.shuffle(turn)
        self._clients = itertools.cycle(turn)
        self._history = history
        self._stop = stop
        self._pause = pause
        self._number = 0
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.failure: BaseException | None = None

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self.act()
                time.sleep(self._dice.uniform(0, 2 * self._pause))
        except BaseException as error:  # noqa: BLE001  # told by whoever joins
            self.failure = error

    def act(self) -> None:
        raise NotImplementedError

    def ask(self, call: Ask) -> tuple[Result, Any, float]:
        """The result, the answer (the error's, where there is one), and when it began."""
        began = time.monotonic()
        try:
            return "acknowledged", call(next(self._clients)), began
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            code = error.response["Error"]["Code"]
            return ("refused" if status < 500 or code in _NOTHING_DONE else "unknown"), error.response, began
        except (BotoCoreError, OSError):
            return "unknown", None, began

    def note(self, kind: str, key: str, value: Any, result: Result, began: float) -> None:
        self._history.add(self.name, kind, key, value, result, began)

    def update(self, key: str, expression: str, values: dict[str, Any], **more: Any) -> tuple[Result, Any, float]:
        return self.ask(
            lambda client: client.update_item(
                TableName=TABLE,
                Key={"id": {"S": key}},
                UpdateExpression=expression,
                ExpressionAttributeValues=values,
                **more,
            )
        )

    def read(self, key: str) -> tuple[Result, dict[str, Any], float]:
        result, answer, began = self.ask(
            lambda client: client.get_item(TableName=TABLE, Key={"id": {"S": key}}, ConsistentRead=True)
        )
        return result, (answer or {}).get("Item", {}) if result == "acknowledged" else {}, began


class Adder(Client):
    """Adds names of its own to sets, and counts."""

    def act(self) -> None:
        self._number += 1
        if self._dice.random() < 0.5:
            key, name = self._dice.choice(SETS), f"{self.name}.{self._number}"
            result, _, began = self.update(key, "ADD seen :s", {":s": {"SS": [name]}})
            self.note("add", key, name, result, began)
        else:
            key = self._dice.choice(COUNTERS)
            result, _, began = self.update(key, "ADD n :one", {":one": {"N": "1"}})
            self.note("count", key, 1, result, began)


class Transactor(Client):
    """Counts on two keys together."""

    def act(self) -> None:
        left, right = self._dice.choice(PAIRS)
        items = [
            {
                "Update": {
                    "TableName": TABLE,
                    "Key": {"id": {"S": key}},
                    "UpdateExpression": "ADD n :one",
                    "ExpressionAttributeValues": {":one": {"N": "1"}},
                }
            }
            for key in (left, right)
        ]
        result, _, began = self.ask(lambda client: client.transact_write_items(TransactItems=items))
        self.note("count", left, 1, result, began)


class Raiser(Client):
    """The one writer of a register: puts ever higher values, which a late one may not undo."""

    register = REGISTERS[0]

    def act(self) -> None:
        self._number += 1
        value = {":v": {"N": str(self._number)}}
        item = {"id": {"S": self.register}, "v": value[":v"], "by": {"S": self.name}}
        result, _, began = self.ask(
            lambda client: client.put_item(
                TableName=TABLE,
                Item=item,
                ConditionExpression="attribute_not_exists(v) OR v < :v",
                ExpressionAttributeValues=value,
            )
        )
        self.note("write", self.register, self._number, result, began)


class Reader(Client):
    """Reads registers, strongly."""

    def act(self) -> None:
        key = self._dice.choice(REGISTERS)
        result, item, began = self.read(key)
        self.note("read", key, int(item["v"]["N"]) if "v" in item else None, result, began)


class Chainer(Client):
    """Reads a value and raises it by one if it is still that."""

    def act(self) -> None:
        key = self._dice.choice(CHAINS)
        result, item, _ = self.read(key)
        if result != "acknowledged":
            return
        held = int(item["v"]["N"]) if "v" in item else 0
        condition = "v = :was" if held else "attribute_not_exists(v)"
        values = {":to": {"N": str(held + 1)}} | ({":was": {"N": str(held)}} if held else {})
        result, _, began = self.update(key, "SET v = :to", values, ConditionExpression=condition)
        self.note("raise", key, held + 1, result, began)


def clients(
    make: Sequence[Callable[[], Any]], history: History, seed: int, stop: threading.Event, pause: float
) -> list[Client]:
    """A fixed company of them, started. `make` gives a boto3 client of each proxy."""
    company = idle_clients(make, history, seed, stop, pause)
    for each in company:
        each.thread.start()
    return company


def idle_clients(
    make: Sequence[Callable[[], Any]], history: History, seed: int, stop: threading.Event, pause: float
) -> list[Client]:
    """The same, not started: each acts once when it is told to (`act`)."""

    def reaching() -> list[Any]:
        return [each() for each in make]

    company: list[Client] = []
    for number in range(2):
        company.append(Adder(f"adder-{number}", reaching(), history, seed, stop, pause))
        company.append(Transactor(f"transactor-{number}", reaching(), history, seed, stop, pause))
        company.append(Reader(f"reader-{number}", reaching(), history, seed, stop, pause))
        company.append(Chainer(f"chainer-{number}", reaching(), history, seed, stop, pause))
    for register in REGISTERS:
        raiser = Raiser(f"raiser-{register}", reaching(), history, seed, stop, pause)
        raiser.register = register
        company.append(raiser)
    return company
