"""Values that Hydra's grammar reads only in quotes, such as paths with a comma or a bracket in them."""

from __future__ import annotations

import os
import re
import shlex

from hydra.core.override_parser.types import Override

_LIST_OR_CALL = re.compile(r"[\[{(]|\w+\(")  # a list, or a sweep such as range(...), that was mistyped


def quoted(value: str) -> str:
    """A text as one value of an override, whatever is in it."""
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), value)
    return f'"{escaped}"'


def quoted_as_it_is(value: str) -> str:
    """As `quoted`; what looks like an interpolation, such as a folder called ``${a}``, is none."""
    return quoted(re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", value))


def as_text(override: str) -> str | None:
    """An override that cannot be read, with its value in quotes; None if it is no matter of quotes."""
    key, equals, value = override.partition("=")
    if not key or not equals or _LIST_OR_CALL.match(value):
        return None
    return f"{key}={quoted(os.path.expanduser(value))}"


def how_to_type(override: str) -> str:
    """The sentence about an override whose value is a text that Hydra does not take for one."""
    key, _, value = override.partition("=")
    home = os.path.expanduser(value)
    if home != value:
        plain = re.fullmatch(r"[\w./-]+", home, re.ASCII)
        return (
            f"'{override}' is not an override, as shells leave ~ alone there; "
            f"write {key}={home if plain else shlex.quote(quoted(home))}"
        )
    return (
        f"'{override}' is not an override, as a value with such characters needs quotes of its own; "
        f"write {shlex.quote(f'{key}={quoted(value)}')}"
    )


def is_path_with_comma(override: Override) -> bool:
    """Whether what reads like a sweep is the name of one file or folder."""
    value = (override.input_line or "").partition("=")[2]
    return override.is_sweep_override() and os.sep in value and os.path.exists(value)
