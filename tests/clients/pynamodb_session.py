"""A day of a Python application on PynamoDB: models, conditions, an index, transactions, versions."""

from __future__ import annotations

import uuid
from typing import Any

from pynamodb.attributes import (
    ListAttribute,
    MapAttribute,
    NumberAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
    UTCDateTimeAttribute,
    VersionAttribute,
)
from pynamodb.connection import Connection
from pynamodb.exceptions import DoesNotExist, PutError, PynamoDBException, TransactWriteError, UpdateError
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex
from pynamodb.models import Model
from pynamodb.transactions import TransactGet, TransactWrite

from tests.standins.dynamodb import ACCESS_KEY, REGION, SECRET_KEY

TABLE = "threads"


def models(endpoint: str) -> Any:
    """The model, bound to an endpoint."""

    class ByForum(GlobalSecondaryIndex):  # type: ignore[type-arg, no-untyped-call]
        class Meta:
            index_name = "by-forum"
            projection = AllProjection()

        forum = UnicodeAttribute(hash_key=True)
        views = NumberAttribute(range_key=True)

    class Thread(Model):
        class Meta:
            table_name = TABLE
            host = endpoint
            region = REGION
            aws_access_key_id = ACCESS_KEY
            aws_secret_access_key = SECRET_KEY
            billing_mode = "PAY_PER_REQUEST"
            max_retry_attempts = 0

        subject = UnicodeAttribute(hash_key=True)
        forum = UnicodeAttribute()
        views = NumberAttribute(default=0)
        tags = UnicodeSetAttribute(null=True)
        replies: ListAttribute[Any] = ListAttribute(default=list)
        author: MapAttribute[Any, Any] = MapAttribute(null=True)  # type: ignore[no-untyped-call]
        at = UTCDateTimeAttribute(null=True)
        version = VersionAttribute()
        by_forum = ByForum()

    return Thread


def play(endpoint: str) -> list[Any]:
    """At an endpoint that has the table (`models(…).create_table()`), empty."""
    thread = models(endpoint)
    told: list[Any] = []

    def tell(*what: Any) -> None:
        told.append([each.to_dynamodb_dict() if isinstance(each, Model) else each for each in what])

    def refused(call: Any, *kinds: type[PynamoDBException]) -> None:
        try:
            call()
        except kinds as error:
            tell(type(error).__name__, getattr(error, "cause_response_code", None))
        else:
            tell("nothing was refused")

    for number in range(8):
        thread(f"subject {number}", forum="books" if number % 2 else "films", views=number).save()
    with thread.batch_write() as batch:
        for number in range(8, 30):
            batch.save(thread(f"subject {number}", forum="games", views=number, tags={"a", str(number)}))
    first = thread.get("subject 1", consistent_read=True)
    first.update(
        actions=[thread.views.add(5), thread.replies.set(thread.replies.append(["é🎉"])), thread.tags.add({"x"})]
    )
    tell("updated", thread.get("subject 1"))
    stale = thread.get("subject 2")
    thread.get("subject 2").update(actions=[thread.views.set(50)])
    refused(stale.save, PutError)
    refused(lambda: stale.update(actions=[thread.views.set(1)]), UpdateError)
    refused(lambda: thread.get("nowhere"), DoesNotExist)
    refused(lambda: thread("subject 3", forum="x").save(condition=thread.subject.does_not_exist()), PutError)
    tell(
        "index", *(each.subject for each in thread.by_forum.query("games", thread.views > 12, scan_index_forward=False))
    )
    tell("limited", *(each.subject for each in thread.by_forum.query("games", limit=5, page_size=2)))
    tell("counted", thread.by_forum.count("games", filter_condition=thread.tags.contains("a")))
    tell("scanned", *sorted(each.subject for each in thread.scan(thread.views.between(3, 9), page_size=4)))
    tell("got", *sorted(each.subject for each in thread.batch_get(["subject 1", "subject 5", "nowhere"])))
    connection = Connection(REGION, host=endpoint)
    connection.session.set_credentials(ACCESS_KEY, SECRET_KEY)
    with TransactWrite(connection=connection, client_request_token=str(uuid.uuid4())) as transaction:
        transaction.update(thread.get("subject 4"), actions=[thread.views.add(1)])
        transaction.save(thread("written together", forum="books"))
        transaction.condition_check(thread, "subject 5", condition=thread.forum == "books")
    tell("together", thread.get("written together"), thread.get("subject 4").views)

    def failing() -> None:
        with TransactWrite(connection=connection) as transaction:
            transaction.delete(thread.get("subject 4"))
            transaction.condition_check(thread, "subject 5", condition=thread.forum == "films")

    refused(failing, TransactWriteError)
    with TransactGet(connection=connection) as reading:
        futures = [reading.get(thread, subject) for subject in ("subject 4", "subject 5")]
    tell("read together", *(future.get() for future in futures))
    thread.get("subject 4").delete()
    # Not `count()`: that is DescribeTable's, of up to six hours ago.
    tell("left", sum(1 for _ in thread.scan()))
    return told
