"""From plain values to typed options: every unknown key, wrong type and value out of bounds, in plain sentences."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
import re
import types
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from omegaconf import MISSING

T = TypeVar("T")

_FEW = 3  # choices that are named all, as the right one may look least like the wrong one: gpu, and cpu or cuda
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
_BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "ge": (lambda value, bound: value >= bound, "at least"),
    "gt": (lambda value, bound: value > bound, "greater than"),
    "le": (lambda value, bound: value <= bound, "at most"),
    "lt": (lambda value, bound: value < bound, "less than"),
}


class Problems(list[str]):
    """Complaints, one sentence each.

    Attributes:
        malformed: whether a value is missing or of the wrong type, so that what was built cannot be looked at as a
            whole; values that are merely out of bounds can.
    """

    malformed = False

    def add(self, sentence: str, *, malformed: bool = False) -> None:
        """Note a complaint."""
        self.append(sentence)
        self.malformed = self.malformed or malformed


def nearest(word: str, valid: Iterable[str]) -> str:
    """The end of a complaint about `word`: the nearest valid choice, or all of them where none is near."""
    choices = sorted(valid)
    lowered = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.5)
    if close:
        return f"did you mean {lowered[close[0]]}?"
    return "valid: " + ", ".join(choices) if choices else "there are none"


@functools.cache
def _hints(options: Hashable) -> dict[str, Any]:
    return get_type_hints(options)


def build(options: Callable[..., T], values: Any, path: str, problems: Problems) -> T:
    """An instance of the dataclass `options` from a mapping, as far as it goes.

    Args:
        options: a dataclass whose fields were declared with `option`.
        values: what was composed; anything but a mapping is a problem.
        path: full key of `values`, for the complaints.
        problems: complaints are added here; if any were, the result is not to be used for a run.
    """
    fields = {field.name: field for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    if not isinstance(values, Mapping):
        problems.add(f"{path} must be a group of keys, not {_show(values)}.", malformed=True)
        return options(**dict.fromkeys(fields))
    for key in values:
        if key not in fields:
            problems.add(f"{path}.{key} is not an option; {nearest(str(key), fields)}")
    arguments: dict[str, Any] = {}
    for name, field in fields.items():
        key = f"{path}.{name}" if path else name
        value = values.get(name, field.metadata.get("neutral", MISSING))
        if isinstance(value, str) and value == MISSING:
            problems.add(f"{key} must be set.", malformed=True)
            arguments[name] = None
            continue
        arguments[name] = _convert(_hints(options)[name], value, key, field.metadata, problems)
    try:
        return options(**arguments)
    except ValueError as error:  # third parties may check what goes together
        problems.add(f"{path}: {error}", malformed=True)
        return _unchecked(options, arguments)


def _unchecked(options: Callable[..., T], arguments: Mapping[str, Any]) -> T:
    instance: T = object.__new__(options)  # type: ignore[arg-type]
    for name, value in arguments.items():
        object.__setattr__(instance, name, value)
    return instance


def _convert(hint: Any, value: Any, key: str, rules: Mapping[str, Any], problems: Problems) -> Any:
    origin = get_origin(hint)
    or_null = ""
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        or_null = " or null"
        hint = next(part for part in get_args(hint) if part is not type(None))
        origin = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, key, problems)  # type: ignore[arg-type]
    if origin is list:
        if not isinstance(value, (list, tuple)):
            problems.add(f"{key} must be a list, not {_show(value)}.", malformed=True)
            return []
        (element,) = get_args(hint)
        return [_convert(element, item, f"{key}[{i}]", rules, problems) for i, item in enumerate(value)]
    if origin is dict:
        return dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if hint is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)  # a folder called 2024, a model called 1
    if type(value) is not hint:
        meant = _meant(hint, key, value)
        choices = rules.get("choices")
        kind = _KINDS[hint] if choices is None else f"one of {', '.join(choices)}"
        problems.add(f"{key} must be {kind}{or_null}, not {_show(value)}{meant}.", malformed=True)
        return value
    _check(value, key, rules, problems)
    return os.path.expanduser(value) if rules.get("path") else value


def _meant(hint: type, key: str, value: Any) -> str:
    """The end of a complaint about a value that was meant well: 1e2, or several of which each was to be run."""
    if hint is int and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if isinstance(value, list) and value and not key.endswith("]"):
        return f"; {key}={','.join(map(str, value))} is a sweep"
    span = re.fullmatch(r"(\d+)(?:\.\.|-|:)(\d+)", value) if hint is int and isinstance(value, str) else None
    if span is None:
        return ""
    return f"; '{key}=range({span[1]},{int(span[2]) + 1})' is a sweep, and so is {key}={span[1]},{span[2]}"


def _check(value: Any, key: str, rules: Mapping[str, Any], problems: Problems) -> None:
    choices = rules.get("choices")
    if choices is not None:
        if value not in choices:
            valid = f"valid: {', '.join(choices)}" if len(choices) <= _FEW else nearest(value, choices)
            problems.add(f"{key}={value} is not a choice; {valid}")
        return
    if (isinstance(value, float) and value != value) or value in (float("inf"), float("-inf")):
        problems.add(f"{key} must be a finite number, not {value}.")
        return
    for rule, (holds, words) in _BOUNDS.items():
        bound = rules.get(rule)
        if bound is not None and not holds(value, bound):
            problems.add(f"{key} must be {words} {bound}, not {value}.")


def _show(value: Any) -> str:
    return "null" if value is None else repr(value) if isinstance(value, str) else str(value)
