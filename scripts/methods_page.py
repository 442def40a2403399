#!/usr/bin/env python3
"""Write docs/methods.md from the registry: every base method and temperature policy, and what composes.

    python scripts/methods_page.py

Names, sources and equations are those that each registers with, options those of its dataclass with the value of its
yaml, refusals those that the command itself would give. A test compares the page with what this script would write.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rlkd_run.config.composition import compose_command
from rlkd_run.config.registry import METHODS, TEMPERATURES
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.config.validate import contradictions
from rlkd_run.protocol import Needs

PAGE = Path(__file__).resolve().parent.parent / "docs" / "methods.md"

HEAD = """# Base methods and temperature policies

<!-- Written by scripts/methods_page.py from the registry; a test keeps it true. -->

v and u are the logits of teacher and student, CE the cross entropy with the labels, f the penultimate feature, F the
map of a stage, e the epoch from 1. KL_T(v, u) = mean over the batch of T_t T_s KL(softmax(v / T_t) ‖ softmax(u / T_s)),
where the policy gives both temperatures, one for all or one an instance, and for all policies but the two-sided ones
T_t = T_s. Every term has a weight, an option of the method.
"""

METHODS_HEAD = """
## Base methods

`rlkd-run method=NAME`. *Temperature*: whether a policy has something to set. *Reads*: what the method takes from the
networks beside their logits; a network that cannot give it is refused before training. *z*: `method.standardise=true`
runs its divergence on z-scored logits (LSKD). The methods with a feature loss, w, stand alone, as their own papers run
them, with `method.kl_weight=0 method.ce_weight=1 temperature=fixed`. Modules that a method owns are trained with the
student, kept in checkpoints, and no part of the student that is exported.
"""

POLICIES_HEAD = """
## Temperature policies

`rlkd-run temperature=NAME`. What a policy learns, with the student's optimiser or by reinforcement, is in every
checkpoint.
"""

COMPOSES_HEAD = """
## What composes

Every policy with every method that has a temperature.
"""


def table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """A Markdown table; a bar inside a cell is escaped."""
    yield ""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def composed(group: str, choices: Iterable[str]) -> dict[str, RunConfig]:
    """A run with each of the choices, of the first pair of the paper's Table 1."""
    names = list(choices)
    temperature = [] if group == "temperature" else ["temperature=fixed"]
    return dict(zip(names, compose_command([f"{group}={','.join(names)}", *temperature]).runs, strict=True))


def reads(needs: Needs) -> str:
    """Needs in words."""
    words = {"penultimate": "penultimate features", "maps": "stage maps", "preactivations": "maps before activation"}
    return ", ".join(words[name] for name, wanted in needs._asdict().items() if wanted) or "—"


def options(name: str, values: Any) -> Iterator[str]:
    """The options of a choice as a table."""
    rows = []
    for field in dataclasses.fields(values):
        if field.name != "name":
            value = getattr(values, field.name)
            shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            rows.append([f"`{field.name}`", f"`{shown}`", field.metadata["help"]])
    if rows:
        yield ""
        yield f"### {name}"
        yield from table(["option", "value", ""], rows)


def methods(configs: dict[str, RunConfig]) -> Iterator[str]:
    """The methods' part of the page."""
    rows = []
    for name, entry in METHODS.items():
        z = "yes" if hasattr(configs[name].method, "standardise") else "—"
        policy = "any" if entry.uses_temperature else "none"
        rows.append([f"`{name}`", entry.equation, entry.source, policy, reads(entry.load().needs), z])
    yield from METHODS_HEAD.splitlines()
    yield from table(["method", "loss", "source", "temperature", "reads", "z"], rows)
    for name, config in configs.items():
        yield from options(f"method={name}", config.method)


def policies(configs: dict[str, RunConfig]) -> Iterator[str]:
    """The policies' part of the page."""
    rows = []
    for name, entry in TEMPERATURES.items():
        agent = "yes" if entry.uses_agent else "—"
        rows.append([f"`{name}`", entry.equation, entry.source, agent])
    yield from POLICIES_HEAD.splitlines()
    yield from table(["policy", "temperature", "source", "options of `agent`"], rows)
    for name, config in configs.items():
        yield from options(f"temperature={name}", config.temperature)


def composition(by_method: dict[str, RunConfig], by_policy: dict[str, RunConfig]) -> Iterator[str]:
    """Which pairs the command takes, and one of its sentences for every kind of refusal."""
    kd = by_method["kd"]
    rows = {f"`{name}`": config for name, config in by_method.items()}
    for change in ({"kl_weight": 0.0}, {"standardise": True}):
        ((key, value),) = change.items()
        words = f"any with `{key}={str(value).lower() if value is True else 0}`"
        rows[words] = dataclasses.replace(kd, method=dataclasses.replace(kd.method, **change))
    cells, reasons = [], {}
    for words, config in rows.items():
        answers = {
            name: contradictions(dataclasses.replace(config, temperature=other.temperature))
            for name, other in by_policy.items()
        }
        cells.append([words, *("—" if answer else "yes" for answer in answers.values())])
        for policy, answer in answers.items():
            for sentence in answer:
                kind = sentence.replace(f"method={config.method.name}", "").replace(f"temperature={policy}", "")
                reasons.setdefault(kind, sentence)
    yield from table(["", *(f"`{name}`" for name in by_policy)], cells)
    yield ""
    yield "The sentences of the refusals, one of each kind:"
    yield ""
    yield from (f"- {sentence}" for sentence in reasons.values())


def page() -> str:
    """The whole page."""
    by_method, by_policy = composed("method", METHODS), composed("temperature", TEMPERATURES)
    lines = [*HEAD.splitlines(), *methods(by_method), *policies(by_policy), *COMPOSES_HEAD.splitlines()]
    return "\n".join([*lines, *composition(by_method, by_policy)]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"written   {PAGE}")
