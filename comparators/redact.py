"""Redacts differences, so that they may be kept and shown: what kind of values differ, never the values.

Equal values have equal hashes however they are spelt, so that one value can be followed through many differences.
Without the key, nobody can test a guess against a hash.
"""

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

    def redact(self, value: Value | None) -> dict[str, Any] | None:
        """Return `{"type": tag, "hash": 16 letters, "shape": {…}}`; None for None.

        The hash is BLAKE2b of 8 bytes over the value's canonical bytes, spelt in letters so that it never looks like a
        number. The shape is coarse, for otherwise it might reveal the value (a rating of two digits is 10):
        - S, B: `length`, in characters (for B of its base64 text), rounded up to a power of two, at least 8;
        - N: `digits`, `few` (up to 4), `double` (up to 15, what an IEEE 754 double keeps) or `wide`, and `fraction`;
        - sets and lists: `members`, how many; M: `keys`, how many;
        - BOOL, NULL: nothing.
        """
        if value is None:
            return None
        ((tag, held),) = value.items()
        return {"type": tag, "hash": self._hash(canonical_bytes(value)), "shape": _shape(tag, held)}

    def _hash(self, raw: bytes) -> str:
        return blake2b(raw, digest_size=8, key=self._key).hexdigest().translate(_HEX_TO_LETTERS)

    def show(self, difference: Difference, values: bool) -> dict[str, Any]:
        """Return the difference as a JSON object; with the values themselves only if `values` is true.

        Names of attributes and map entries in a path are shown, because they are schema. Names that must be quoted in a
        path (with blanks, dots …) are probably content, and are hashed. Counts, places, statuses and error codes come
        from the stores, not from the application, and are always shown. Error messages may repeat values, and are not.
        """
        plain = values or difference.kind in _PLAIN_KINDS or (difference.kind is Kind.ORDER and not difference.field)
        return {
            "kind": difference.kind.value,
            "type": difference.type,
            "field": difference.field if values else self.name(difference.field),
            "path": difference.path if values else self._path(difference.path),
            "within": difference.within,
            "key": self.show_key(difference.key, values),
            "authority": difference.authority if plain else self.redact(difference.authority),
            "mirror": difference.mirror if plain else self.redact(difference.mirror),
        }

    def show_key(self, key: Item | None, values: bool) -> dict[str, Any] | None:
        """Return the attributes of a key as a JSON object; with the values themselves only if `values` is true."""
        if key is None or values:
            return key
        return {self.name(name): self.redact(value) for name, value in key.items()}

    def name(self, name: str) -> str:
        """Return a name as it may be shown: itself, or its hash if a path would have to quote it."""
        return name if not name or paths.name(name) == name else f"~{self._hash(name.encode('utf-8', 'surrogatepass'))}"

    def _path(self, path: str) -> str:
        shown = ""
        for step in paths.steps(path):
            shown = paths.element(shown, step) if isinstance(step, int) else paths.member(shown, self.name(step))
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
