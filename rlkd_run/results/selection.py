"""Which runs a table is about (`--where`), and by what it is split (`--group-by`)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlkd_run.errors import ConfigError
from rlkd_run.flat import shown
from rlkd_run.results.records import Record
from rlkd_run.results.settings import value_in
from rlkd_run.words import listed

FIELDS = ("task", "dataset", "pair", "teacher", "student", "method", "temperature", "agent", "seed", "epochs")
"""Keys of every record; any other is a key of the configuration, such as `recipe.lr`."""


@dataclass(frozen=True)
class Condition:
    """`key=value`, or `key=value,value`: any of them. A comma within brackets is part of a value, which is a list."""

    key: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read `key=value`.

        Raises:
            ConfigError: there is no key or no value.
        """
        key, equals, values = text.partition("=")
        if not equals or not key.strip() or not values.strip():
            raise ConfigError(f"--where {text}: write KEY=VALUE, such as method=kd or seed=0,1,2.")
        return cls(key.strip(), _split(values))

    def __str__(self) -> str:
        return f"{self.key}={','.join(self.values)}"


def value_of(record: Record, key: str) -> str | None:
    """The value of a key as it is typed on the command line; None where the record does not have the key."""
    if key in FIELDS:
        return shown(getattr(record, key))
    return value_in(record.config, key)


def chosen(records: Sequence[Record], conditions: Iterable[Condition]) -> list[Record]:
    """The records that meet all of `conditions`; a record without the key meets none about it.

    Raises:
        ConfigError: no record has such a key, or none is left; the sentence names what there is.
    """
    left = list(records)
    for condition in conditions:
        check_key(left, condition.key)
        wanted = [_comparable(value) for value in condition.values]
        values = [value_of(record, condition.key) for record in left]
        kept = [
            record
            for record, value in zip(left, values, strict=True)
            if value is not None and _comparable(value) in wanted
        ]
        if not kept:
            there = listed(sorted({value for value in values if value is not None}))
            raise ConfigError(f"--where {condition}: no finished run has it; {condition.key} is {there}.")
        left = kept
    return left


def check_key(records: Iterable[Record], key: str) -> None:
    """See that some record has the key.

    Raises:
        ConfigError: none has.
    """
    records = list(records)
    if all(value_of(record, key) is None for record in records):
        known = {*FIELDS}.union(*(record.config for record in records))
        nearest = difflib.get_close_matches(key, sorted(known), n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else f". Known: {', '.join(FIELDS)}, and configuration keys."
        raise ConfigError(f"No run has a key {key}{hint}")


def grouped(records: Sequence[Record], key: str) -> dict[str, list[Record]]:
    """Split records by the value of a key, in the order in which values first appear; empty for those without it.

    Raises:
        ConfigError: no record has the key.
    """
    check_key(records, key)
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(value_of(record, key) or "", []).append(record)
    return groups


def _comparable(value: str) -> object:
    """4 and 4.0 are the same value, and so are lists of them; names in a list may stand in quotes."""
    if value.startswith("[") and value.endswith("]"):
        return tuple(_comparable(item.strip("\"'")) for item in _split(value[1:-1]))
    try:
        return float(value)
    except ValueError:
        return value


def _split(text: str) -> tuple[str, ...]:
    """The parts between commas, other than those within brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign == "[") - (sign == "]")
        if sign == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += sign
    return tuple(part.strip() for part in parts)
