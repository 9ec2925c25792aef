"""Whatever the rows: all of them come, in order, in batches that a transaction takes."""

from collections.abc import Iterator
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dynamodb.schema import Index, TableSchema
from proxy.mapping.document_mapping import DocumentMapping
from proxy.stores.dsql.bulk import MAX_BYTES, MAX_ROWS, Bulk, batches
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sql.array_literal import array_literal


@given(st.lists(st.integers(0, 50), max_size=80), st.integers(1, 10), st.integers(1, 100))
def test_batches_hold_all_rows_in_order_within_both_limits(sizes: list[int], max_rows: int, max_bytes: int) -> None:
    rows = list(enumerate(sizes))
    made = list(batches(rows, lambda row: row[1], max_rows=max_rows, max_bytes=max_bytes))
    assert [row for batch in made for row in batch] == rows
    for batch in made:
        assert 1 <= len(batch) <= max_rows
        assert len(batch) == 1 or sum(size for _, size in batch) <= max_bytes
    # None is shorter than it must be: the next row would not have fitted.
    for batch, following in pairwise(made):
        full = len(batch) == max_rows or sum(size for _, size in batch) + following[0][1] > max_bytes
        assert full


def test_dsqls_own_limits_are_kept_unasked() -> None:
    many = list(batches(range(2 * MAX_ROWS + 1), lambda _: 1))
    assert [len(batch) for batch in many] == [MAX_ROWS, MAX_ROWS, 1]
    wide = list(batches(range(40), lambda _: 1024 * 1024))
    assert all(len(batch) * 1024 * 1024 <= MAX_BYTES for batch in wide)


def test_a_batch_comes_before_the_next_rows_are_read() -> None:
    read = 0

    def rows() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    first = next(batches(rows(), lambda _: 1, max_rows=10))
    assert len(first) == 10
    assert read == 11


def test_limits_that_nothing_fits_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        next(batches([1], lambda _: 1, max_rows=0))


@given(
    st.lists(
        st.tuples(st.text(st.sampled_from('"\\\\a\\nä雪'), max_size=40), st.text(max_size=5), st.none()), max_size=40
    ),
    st.integers(600, 4000),
)
def test_a_batch_is_within_the_limit_as_it_is_sent(rows: list[tuple[str, str, None]], limit: int) -> None:
    """Array literals escape quotation marks and backslashes, and a message over 10 MiB is cut off."""
    schema = TableSchema("t", "a", "b", {"a": "S", "b": "S"}, {"by-b": Index("by-b", ("b",), (), None, local=False)})
    bulk = Bulk(cast("Pool", None), DocumentMapping(schema), schema="public", seconds=1)
    for batch in batches(rows, bulk.row_bytes, max_bytes=limit):
        texts = [
            array_literal([text.replace("\\0", "") if text is not None else None for text in c])
            for c in zip(*batch, strict=True)
        ]
        assert sum(len(text.encode()) for text in texts) <= limit + 2 * len(texts) or len(batch) == 1
        assert len(batch) * (140 + 430) <= limit  # what a cluster adds for a row and for an entry in an index
