"""Redacts differences, so that they may be kept and shown: what kind of values differ, never the values.

Equal values of one attribute have equal hashes however they are spelt, so that one value can be followed through many
differences. Without the key, nobody can test a guess against a hash; but who knows the value of one row knows it in
every row with the same hash, so values that are one of few have none.
"""

from collections.abc import Collection
from hashlib import blake2b
from typing import Any

from comparators import paths
from comparators.canonical_forms import canonical_bytes, parse_number
from comparators.difference import Difference, Item, Kind, Value

_HEX_TO_LETTERS = str.maketrans("0123456789abcdef", "ghjkmnpqrstvwxyz")
_SHORTEST_KEY, _LONGEST_KEY = 16, 64  # bytes; the longest is the limit of BLAKE2b (RFC 7693)
_LEAST_LENGTH = 8
_PLAIN_KINDS = frozenset({Kind.COUNT, Kind.ERROR_CODE, Kind.OUTCOME})
_DOUBLE_DIGITS = 15
_FEW_DIGITS = 4


class Redactor:
    """A redactor with one secret key.

    `key` is 16 to 64 random bytes; otherwise ValueError is raised. Whoever has the key can test guesses against hashes,
    so it must not leave the process.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if not _SHORTEST_KEY <= len(key) <= _LONGEST_KEY:
            raise ValueError(f"a redaction key has {_SHORTEST_KEY} to {_LONGEST_KEY} bytes, not {len(key)}")
        self._key = key

    def redact(self, value: Value | None, place: str = "") -> dict[str, Any] | None:
        """Return `{"type": tag, "hash": 16 letters or null, "shape": {…}}`; None for None.

        The hash is BLAKE2b of 8 bytes over the place and the value's canonical bytes, spelt in letters so that it never
        looks like a number. `place` is the table and the attribute: a letter that is known from one attribute decodes
        no other. There is no hash of a value that is one of few (BOOL, NULL, and numbers of up to 4 digits, as ratings
        are), because a single known row would decode it everywhere. The shape is coarse, for otherwise it might reveal
        the value (a rating of two digits is 10):
        - S, B: `length`, in characters (for B of its base64 text), rounded up to a power of two, at least 8;
        - N: `digits`, `few` (up to 4), `double` (up to 15, what an IEEE 754 double keeps) or `wide`, and `fraction`;
        - sets and lists: `members`, how many; M: `keys`, how many;
        - BOOL, NULL: nothing.
        """
        if value is None:
            return None
        ((tag, held),) = value.items()
        shape = _shape(tag, held)
        is_one_of_few = tag in ("BOOL", "NULL") or shape.get("digits") == "few"
        letters = None if is_one_of_few else self._hash(canonical_bytes(value), place)
        return {"type": tag, "hash": letters, "shape": shape}

    def _hash(self, raw: bytes, place: str) -> str:
        salted = b"%d:%b%b" % (len(place), place.encode("utf-8", "surrogatepass"), raw)
        return blake2b(salted, digest_size=8, key=self._key).hexdigest().translate(_HEX_TO_LETTERS)

    def show(
        self, difference: Difference, values: bool, *, table: str = "", declared: Collection[str] = ()
    ) -> dict[str, Any]:
        """Return the difference as a JSON object; with the values themselves only if `values` is true.

        Names of attributes in a path are shown, because they are schema, unless they must be quoted in a path (with
        blanks, dots …): those are probably content, and are hashed. Names of map entries are content too, and are
        hashed, but for those in `declared`. Counts, places, statuses and error codes come from the stores, not from the
        application, and are always shown. Error messages may repeat values, and are not. `table` is a part of the place
        of every hash.
        """
        plain = values or difference.kind in _PLAIN_KINDS or (difference.kind is Kind.ORDER and not difference.field)
        place = f"{table}.{difference.field}"
        return {
            "kind": difference.kind.value,
            "type": difference.type,
            "field": difference.field if values else self.name(difference.field),
            "path": difference.path if values else self._path(difference, place, declared),
            "within": difference.within,
            "key": self.show_key(difference.key, values, table),
            "authority": difference.authority if plain else self.redact(difference.authority, place),
            "mirror": difference.mirror if plain else self.redact(difference.mirror, place),
        }

    def show_key(self, key: Item | None, values: bool, table: str = "") -> dict[str, Any] | None:
        """Return the attributes of a key as a JSON object; with the values themselves only if `values` is true."""
        if key is None or values:
            return key
        return self.redact_item(key, table)

    def redact_item(self, item: Item, table: str) -> dict[str, Any]:
        """Return an item, or a key, with each attribute redacted at its own place."""
        return {self.name(name): self.redact(value, f"{table}.{name}") for name, value in item.items()}

    def name(self, name: str, place: str = "") -> str:
        """Return a name as it may be shown: itself, or its hash if a path would have to quote it."""
        return name if not name or paths.name(name) == name else self._named(name, place)

    def _named(self, name: str, place: str) -> str:
        return f"~{self._hash(name.encode('utf-8', 'surrogatepass'), place)}"

    def _path(self, difference: Difference, place: str, declared: Collection[str]) -> str:
        shown = ""
        for depth, step in enumerate(paths.steps(difference.path)):
            if isinstance(step, int):
                shown = paths.element(shown, step)
            elif depth == 0 or not difference.field or step in declared:
                shown = paths.member(shown, self.name(step, place))
            else:
                shown = paths.member(shown, self._named(step, place))
        return shown


def _shape(tag: str, held: Any) -> dict[str, Any]:
    if tag in ("S", "B"):
        length = _LEAST_LENGTH
        while length < len(held):
            length *= 2
        return {"length": length}
    if tag == "N":
        return _number_shape(held)
    if tag in ("SS", "NS", "BS", "L"):
        return {"members": len(held)}
    if tag == "M":
        return {"keys": len(held)}
    return {}


def _number_shape(text: str) -> dict[str, Any]:
    value = parse_number(text)
    if value is None:
        return {"digits": "none"}
    exact = value.normalize()
    digits = len(value.as_tuple().digits)
    size = "few" if digits <= _FEW_DIGITS else "double" if digits <= _DOUBLE_DIGITS else "wide"
    return {"digits": size, "fraction": exact != exact.to_integral_value()}
