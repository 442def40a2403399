"""Typed look-ups in a JSON object that somebody else wrote: a value is what it should be, or the record is refused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from rlkd_run.errors import in_a_line

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
"""Half a character: alone it stands for a byte of a path that is not UTF-8, and can be neither written nor drawn."""


class RecordError(Exception):
    """A record that cannot be used; the message says why."""


@dataclass(frozen=True)
class Fields:
    """A JSON object and the dotted key under which it stands, which every complaint names."""

    values: Mapping[str, object]
    path: str = ""

    @classmethod
    def load(cls, file: Path) -> Fields:
        """Read the object that a JSON file holds; what no file could hold in UTF-8 becomes a question mark in it.

        Raises:
            RecordError: the file cannot be read, is no valid JSON, holds NaN or infinity, or is no object.
        """
        try:
            # ValueError: not UTF-8, not JSON, a number of too many digits; RecursionError: brackets a thousand deep.
            text = file.read_bytes()
            values = json.loads(text, parse_constant=_refuse_constant)
            if _SURROGATE.search(text):
                values = json.loads(json.dumps(values, ensure_ascii=False).encode(errors="replace"))
        except OSError as error:
            raise RecordError(f"it cannot be read ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise RecordError(f"it is not valid JSON ({in_a_line(error)})") from error
        if not isinstance(values, dict):
            raise RecordError("it does not hold a JSON object")
        return cls(values)

    def get(self, key: str) -> object:
        """Return the value of `key`, which may be null but must be there."""
        if key not in self.values:
            raise RecordError(f"the key {self._full(key)} is missing")
        return self.values[key]

    def child(self, key: str) -> Fields:
        """Return the object under `key`."""
        value = self.get(key)
        if not isinstance(value, dict):
            self._refuse(key, "a group of keys")
        return Fields(value, self._full(key))

    def text(self, key: str) -> str:
        """Return the string under `key`, which must not be empty."""
        value = self.get(key)
        if not isinstance(value, str) or not value.strip():
            self._refuse(key, "a name")
        return value

    def text_or_none(self, key: str) -> str | None:
        """Return the string under `key`, or None for null."""
        return None if self.get(key) is None else self.text(key)

    def whole(self, key: str) -> int:
        """Return the integer under `key`, at least 0."""
        value = self.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            self._refuse(key, "a whole number")
        return value

    def number(self, key: str) -> float:
        """Return the finite number under `key`."""
        value = self.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            self._refuse(key, "a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self._refuse(key, "a finite number")
        return number

    def number_or_none(self, key: str) -> float | None:
        """Return the finite number under `key`, or None for null."""
        return None if self.get(key) is None else self.number(key)

    def percent(self, key: str) -> float:
        """Return the number under `key`, from 0 to 100."""
        number = self.number(key)
        if not 0 <= number <= 100:
            self._refuse(key, "a percentage from 0 to 100")
        return number

    def percent_or_none(self, key: str) -> float | None:
        """Return the number under `key`, from 0 to 100, or None for null."""
        return None if self.get(key) is None else self.percent(key)

    def _full(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _refuse(self, key: str, expected: str) -> NoReturn:
        raise RecordError(f"{self._full(key)} is not {expected}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} in place of a number")
