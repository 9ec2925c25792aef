"""Column types: what each holds exactly, what it refuses and with what remedy, and what a literal plan makes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dynamodb.values import Value
from proxy.mapping.codecs import ValueDoesNotFitError, codec, from_ordered_text, to_ordered_text
from proxy.mapping.composites import Composite
from proxy.mapping.index_key_limits import IndexKeys


@pytest.mark.parametrize(
    ("sql_type", "value", "parameter"),
    [
        ("text", {"S": ""}, ""),
        ("text", {"S": "日本"}, "日本"),
        ("varchar(2)", {"S": "日本"}, "日本"),
        ("uuid", {"S": "3f2504e0-4f89-11d3-9a0c-0305e82c3301"}, "3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
        ("smallint", {"N": "-32768"}, -32768),
        ("integer", {"N": "2147483647"}, 2147483647),
        ("bigint", {"N": "9223372036854775807"}, 9223372036854775807),
        ("numeric(6,3)", {"N": "8.5"}, Decimal("8.5")),
        ("numeric(6,3)", {"N": "-999.999"}, Decimal("-999.999")),
        ("numeric(3)", {"N": "999"}, Decimal(999)),
        ("numeric(2,2)", {"N": "0.99"}, Decimal("0.99")),
        ("numeric(294,168)", {"N": "9" * 38 + "0" * 88}, Decimal("9" * 38 + "0" * 88)),
        ("numeric(294,168)", {"N": "0." + "0" * 129 + "1" * 38}, Decimal("0." + "0" * 129 + "1" * 38)),
        ("numeric(1000,900)", {"N": "1" + "0" * 98}, Decimal("1" + "0" * 98)),
        ("boolean", {"BOOL": False}, False),
        ("bytea", {"B": "AP8="}, b"\x00\xff"),
        ("timestamptz", {"N": "1700000000123"}, datetime(2023, 11, 14, 22, 13, 20, 123000, UTC)),
        ("timestamptz", {"N": "-0.001"}, datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)),
        ("timestamptz", {"N": "253402300799999.998"}, datetime(9999, 12, 31, 23, 59, 59, 999998, UTC)),
    ],
)
def test_what_fits_is_held_exactly(sql_type: str, value: Value, parameter: Any) -> None:
    chosen = codec(sql_type)
    assert chosen.encode(value) == parameter
    assert chosen.decode(chosen.encode(value)) == value


@pytest.mark.parametrize(
    ("sql_type", "value", "reason"),
    [
        ("text", {"N": "1"}, "of type N, the column holds S"),
        ("text", {"NULL": True}, "of type NULL"),
        ("text", {"S": "a\x00"}, "NUL"),
        ("text", {"S": "é" * (512 * 1024 + 1)}, "1 MiB"),
        ("varchar(2)", {"S": "abc"}, "3 characters, the column holds 2: widen"),
        ("varchar(2)", {"S": "a  "}, "3 characters"),
        ("varchar(65535)", {"S": "é" * 40_000}, "use text"),
        ("uuid", {"S": "3F2504E0-4F89-11D3-9A0C-0305E82C3301"}, "lower case: use text"),
        ("uuid", {"S": "3f2504e04f8911d39a0c0305e82c3301"}, "use text"),
        ("uuid", {"S": "book-1"}, "not a UUID: use text"),
        ("smallint", {"N": "32768"}, "out of range for 16 bits: use numeric"),
        ("integer", {"N": "8.5"}, "fraction"),
        ("bigint", {"N": "1" + "0" * 125}, "out of range"),
        ("numeric(6,3)", {"N": "0.0005"}, "more than 3 decimal places"),
        ("numeric(6,3)", {"N": "1000"}, "more than 3 digits before the point"),
        ("numeric(2,2)", {"N": "1"}, "more than 0 digits before the point"),
        ("boolean", {"S": "true"}, "of type S"),
        ("bytea", {"S": "AA=="}, "of type S"),
        ("timestamptz", {"S": "2023-11-14"}, "of type S"),
        ("timestamptz", {"N": "0.0001"}, "finer than a microsecond"),
        ("timestamptz", {"N": "1700000000000.0000000000000000000000001"}, "finer than a microsecond"),
        ("timestamptz", {"N": "253402300800000"}, "years 1 to 9999"),
        ("timestamptz", {"N": "-62135596800001"}, "years 1 to 9999"),
        ("timestamptz", {"N": "9" * 38}, "years 1 to 9999"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(sql_type: str, value: Value, reason: str) -> None:
    with pytest.raises(ValueDoesNotFitError, match=reason):
        codec(sql_type).encode(value)


@pytest.mark.parametrize("milliseconds", ["-62135596800000", "253402300799999.999"])
def test_the_ends_of_pythons_calendar_are_refused(milliseconds: str) -> None:
    """asyncpg would send them as infinities (.NET's DateTime.MinValue is one of them)."""
    with pytest.raises(ValueDoesNotFitError):
        codec("timestamptz").encode({"N": milliseconds})


def test_an_infinity_that_somebody_else_wrote_does_not_stop_a_read() -> None:
    assert codec("timestamptz").decode(datetime.min) == {"N": "-62135596800000"}  # noqa: DTZ901  (as asyncpg gives it)


@pytest.mark.parametrize(
    ("sql_type", "value", "made"),
    [
        ("integer", {"N": "8.5"}, {"N": "9"}),
        ("integer", {"N": "-8.5"}, {"N": "-9"}),
        ("integer", {"N": "8.4999999999999999999999999999999999999"}, {"N": "8"}),
        ("numeric(2,1)", {"N": "8.55"}, {"N": "8.6"}),
        ("numeric(2,1)", {"N": "9.94999999999999999999999999999999"}, {"N": "9.9"}),
        ("uuid", {"S": "3F2504E0-4F89-11D3-9A0C-0305E82C3301"}, {"S": "3f2504e0-4f89-11d3-9a0c-0305e82c3301"}),
        ("varchar(3)", {"S": "abc   "}, {"S": "abc"}),
        ("timestamptz", {"N": "1700000000000.9"}, {"N": "1700000000000"}),
        ("timestamptz", {"N": "-1.9"}, {"N": "-1"}),
    ],
)
def test_a_literal_plan_rounds_and_cuts(sql_type: str, value: Value, made: Value) -> None:
    chosen = codec(sql_type)
    assert chosen.decode(chosen.coerce(value)) == made


@pytest.mark.parametrize(
    ("sql_type", "value"),
    [
        ("integer", {"N": "2147483647.5"}),
        ("numeric(2,1)", {"N": "9.95"}),
        ("varchar(3)", {"S": "abcd"}),
        ("varchar(3)", {"S": "ab\x00"}),
        ("uuid", {"S": "urn:uuid:3f2504e0-4f89-11d3-9a0c-0305e82c3301"}),
        ("uuid", {"S": "3f2504e0-4f89-11d3-9a0c-0305e82c330_1"}),
        ("timestamptz", {"N": "253402300800000"}),
    ],
)
def test_a_literal_plan_is_refused_what_postgres_refuses(sql_type: str, value: Value) -> None:
    with pytest.raises(ValueDoesNotFitError):
        codec(sql_type).coerce(value)


@pytest.mark.parametrize(
    "sql_type",
    [
        *("TEXT", "json", "real", "", "varchar", "varchar(0)", "varchar(65536)", "varchar(2,1)", "text(5)"),
        *("integer(4)", "uuid(1)", "timestamptz(3)", "numeric", "numeric(0)", "numeric(1001)", "numeric(2,3)"),
        "numeric(6,-1)",
    ],
)
def test_other_column_types_are_refused_by_name(sql_type: str) -> None:
    with pytest.raises(ValueError, match=r"known:|out of range") as refused:
        codec(sql_type)
    assert repr(sql_type) in str(refused.value)


def test_a_number_comes_back_without_the_columns_scale() -> None:
    assert codec("numeric(6,3)").decode(Decimal("8.500")) == {"N": "8.5"}
    assert codec("numeric(6,3)").decode(Decimal("0.000")) == {"N": "0"}
    assert codec("numeric(294,168)").decode(Decimal("1E+125")) == {"N": "1" + "0" * 125}


# --- composites -------------------------------------------------------------------------------------------------------


def test_a_template_may_be_one_part() -> None:
    assert Composite.from_template("{a}").parse("x:y") == {"a": "x:y"}


@pytest.mark.parametrize("template", ["", "text", "{a}{b}", "{a}:", ":{a}:{b}", "{a}:{b}{c}", "{}:{a}", "{a}:{a}"])
def test_a_template_that_cannot_be_parsed_back_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"in braces|twice"):
        Composite.from_template(template)


def test_the_first_literal_separates() -> None:
    composite = Composite.from_template("{type}:{id}")
    assert composite.parse("Book:a:b") == {"type": "Book", "id": "a:b"}
    assert composite.parse("Book") is None
    assert composite.parse(":") == {"type": "", "id": ""}


def test_parts_are_texts_or_numbers_that_do_not_hide_the_literal() -> None:
    composite = Composite.from_template("{a}::{b}")
    assert composite.render({"a": {"S": "x"}, "b": {"N": "5"}}) == "x::5"
    assert composite.render({"a": {"S": "x"}}) is None
    assert composite.render({"a": {"S": "x"}, "b": {"NULL": True}}) is None
    assert composite.render({"a": {"S": "x::y"}, "b": {"S": "z"}}) is None
    # "x:" and "::" and "y" would be parsed as "x" and ":y".
    assert composite.render({"a": {"S": "x:"}, "b": {"S": "y"}}) is None
    assert composite.render({"a": {"S": "x"}, "b": {"S": ":y"}}) == "x:::y"


# --- binary keys ------------------------------------------------------------------------------------------------------

BYTES = st.one_of(st.binary(max_size=9), st.lists(st.sampled_from((0, 1, 127, 128, 254, 255)), max_size=7).map(bytes))


@given(BYTES, BYTES)
def test_ordered_binary_sorts_as_the_bytes_do_and_comes_back(one: bytes, other: bytes) -> None:
    texts = to_ordered_text(one), to_ordered_text(other)
    assert (texts[0] < texts[1]) is (one < other)
    assert (texts[0] == texts[1]) is (one == other)
    assert from_ordered_text(texts[0]) == one


@pytest.mark.parametrize("text", ["+", "a", "AA==", "-0", "é", "AA/A", "a b", "----\n"])
def test_a_text_that_no_binary_is_written_as_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_ordered_text(text)


def test_text_holds_binary_where_it_is_said_so() -> None:
    chosen = codec("text", "B")
    assert (chosen.sql_type, chosen.tag) == ("text", "B")
    assert chosen.encode({"B": "AP8="}) == chosen.coerce({"B": "AP8="}) == "-Ew"
    assert chosen.decode("-Ew") == {"B": "AP8="}
    with pytest.raises(ValueDoesNotFitError, match="of type S, the column holds B"):
        chosen.encode({"S": "AP8="})
    with pytest.raises(ValueError, match="holds N, not B"):
        codec("bigint", "B")


# --- the size of keys -------------------------------------------------------------------------------------------------


def test_a_key_of_1024_bytes_is_not_too_long_and_one_more_is() -> None:
    keys = IndexKeys.of(["type", "title", "id"], [["type", "id"], ["type", "title", "id"]])
    assert list(keys.too_long(("Book", "é" * 500, "i" * 20))) == []
    [found] = keys.too_long(("Book", "é" * 500, "i" * 21))
    assert (found.place, found.size) == (1, 1025)
    assert "1025 bytes, at most 1024 are written: shorten" in found.reason


def test_a_key_may_have_as_many_bytes_as_the_settings_say() -> None:
    keys = IndexKeys.of(["type", "id"], [["type", "id"]], 1981)
    assert list(keys.too_long(("Book", "i" * 1977))) == []
    assert [found.size for found in keys.too_long(("Book", "i" * 1978))] == [1982]


def test_each_column_is_blamed_once_and_absent_ones_weigh_nothing() -> None:
    keys = IndexKeys.of(["a", "b", "c"], [["a"], ["a", "b"], ["a", "c"], ["b"]])
    assert [found.place for found in keys.too_long((None, "x" * 2000, "y" * 2000))] == [1, 2]
    assert [found.place for found in keys.too_long(("x" * 1025, None, None))] == [0]


def test_numbers_and_times_weigh_a_little() -> None:
    keys = IndexKeys.of(["t", "n", "at"], [["t", "n", "at"]])
    now = datetime.now(UTC)
    assert list(keys.too_long(("x" * 978, Decimal("1." + "1" * 37), now))) == []
    assert len(list(keys.too_long(("x" * 979, Decimal(1), now)))) == 1
