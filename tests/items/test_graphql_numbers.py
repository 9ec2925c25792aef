"""A number in a GraphQL request that no attribute can have is the caller's error, wherever it is: no fault of ours."""

import pytest

from proxy.items.graphql import GraphQL
from proxy.items.json_values import InvalidJSONValueError, parsed
from tests.items.catalogues import catalogue_of
from tests.unit.ports import NoLayer

LITERALS = {
    "an argument": "{items(type: Book, first: %s) {items {id}}}",
    "a filter": "{items(type: Book, filter: {minRating: %s}) {items {id}}}",
    "an input": 'mutation {createBook(item: {shelf: "Read", title: "x", rating: %s}) {id}}',
    "a default": "query ($n: Int = %s) {items(type: Book, first: $n) {items {id}}}",
    "a directive": "{items(type: Book) @include(if: %s) {items {id}}}",
    "an unknown field": "{nothing(n: %s)}",
}
VARIABLES = {
    "Int": "query ($n: Int) {items(type: Book, first: $n) {items {id}}}",
    "Float": "query ($n: Float) {items(type: Book, filter: {minRating: $n}) {items {id}}}",
}
NUMBERS = ["9" * 900_000, "-" + "9" * 4_301, "9" * 201, "0." + "9" * 900_000, "1e" + "9" * 900_000]
ODD = ["9" * 200, "1e999", "-1e400", "1e-999", "9" * 38, "0", "-0.0"]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{number[:3]}… of {len(number)}")
@pytest.mark.parametrize("place", LITERALS)
async def test_a_literal_that_is_too_long_is_invalid(place: str, number: str) -> None:
    answer = await GraphQL(catalogue_of(NoLayer())).answer({"query": LITERALS[place] % number}, writes=True)
    (error,) = answer["errors"]
    assert (answer["data"], error["extensions"]) == (None, {"code": "INVALID"})
    assert error["message"] == "numbers of at most 38 digits"


@pytest.mark.parametrize("number", ODD)
@pytest.mark.parametrize("place", LITERALS)
async def test_no_literal_is_a_fault(place: str, number: str) -> None:
    answer = await GraphQL(catalogue_of(NoLayer())).answer({"query": LITERALS[place] % number}, writes=True)
    assert all(error["extensions"]["code"] in ("INVALID", "GRAPHQL", "UNAVAILABLE") for error in answer["errors"])


@pytest.mark.parametrize("number", [*NUMBERS, *ODD], ids=lambda number: f"{number[:6]}… of {len(number)}")
@pytest.mark.parametrize("kind", VARIABLES)
async def test_no_variable_is_a_fault(kind: str, number: str) -> None:
    try:
        variables = parsed(f'{{"n":{number}}}'.encode())
    except InvalidJSONValueError:
        return  # refused before GraphQL sees it
    answer = await GraphQL(catalogue_of(NoLayer())).answer(
        {"query": VARIABLES[kind], "variables": variables}, writes=True
    )
    assert all(error["extensions"]["code"] in ("INVALID", "GRAPHQL", "UNAVAILABLE") for error in answer["errors"])
