#!/usr/bin/env python3
"""Write docs/methods.md and docs/options.md from what the code declares.

    python scripts/methods_page.py

methods.md has every base method and temperature policy and what composes, options.md the options of everything else.
Names, sources and equations are those that each registers with, options those of its dataclass with the value of its
yaml, refusals those that the command itself would give. A test compares the pages with what this script would write.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints
from unittest import mock

from rlkd_run.config.composition import compose_command
from rlkd_run.config.registry import METHODS, TEMPERATURES
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.config.validate import contradictions
from rlkd_run.protocol import Needs

DOCS = Path(__file__).resolve().parent.parent / "docs"

HEAD = """# Base methods and temperature policies

<!-- Written by scripts/methods_page.py from the registry; a test keeps it true. -->

v and u are the logits of teacher and student, CE the cross entropy with the labels, f the penultimate feature, F the
map of a stage, e the epoch from 1. KL_T(v, u) = mean over the batch of T_t T_s KL(softmax(v / T_t) ‖ softmax(u / T_s)),
where the policy gives both temperatures, one for all or one an instance, and for all policies but the two-sided ones
T_t = T_s. Every term but annealing's has a weight, an option of the method; diffkd's denoisers and autoencoder share
those of what they denoise.

The values below are those of resnet56 → resnet20 on CIFAR-100 in 240 epochs. Some follow the pair, the data set or the
epochs: `rlkd-run … --cfg job --resolve` shows yours.
"""

OPTIONS_HEAD = """# Options

<!-- Written by scripts/methods_page.py from what the code declares; a test keeps it true. -->

An option is set as `rlkd-run GROUP.KEY=VALUE`, `recipe.epochs=10` say; those of no group as `KEY=VALUE`. The values are
those of `rlkd-run` as it stands: resnet56 → resnet20 on CIFAR-100 in 240 epochs. Some follow the pair, the data set or
the epochs: `rlkd-run … --cfg job --resolve` shows yours. The options of `method` and `temperature` are in
[methods.md](methods.md).

A teacher that is trained has the options of `recipe` too, but for those of which `teacher.recipe` has its own: with
another `recipe.weight_decay` the student learns from another teacher, unless `teacher.checkpoint` gives one.
"""

KINDS = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}

METHODS_HEAD = """
## Base methods

`rlkd-run method=NAME`. *Temperature*: whether a policy has something to set. *Reads*: what the method takes from the
networks beside their logits; a network that cannot give it is refused before training. *z*: `method.standardise=true`
runs its divergence on z-scored logits (LSKD). The methods with a feature loss, w, stand alone
with `method.kl_weight=0 method.ce_weight=1 temperature=fixed`, as most of their papers run them; infoflow's uses no
labels at all, and diffkd's keeps its `kl_weight`. Modules that a method owns are trained with the
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


def composed(group: str, choices: Iterable[str], *more: str) -> dict[str, RunConfig]:
    """A run with each of the choices and what `more` sets, of the first pair of the paper's Table 1."""
    names = list(choices)
    return dict(zip(names, compose_command([f"{group}={','.join(names)}", *more]).runs, strict=True))


def reads(needs: Needs) -> str:
    """Needs in words."""
    words = {"penultimate": "penultimate features", "maps": "stage maps", "preactivations": "maps before activation"}
    return ", ".join(words[name] for name, wanted in needs._asdict().items() if wanted) or "—"


def typed(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, list):
        return f"[{','.join(map(typed, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def valid(hint: Any, rules: Mapping[str, Any]) -> str:
    """What an option may be: `whole number, ≥ 1, or null`."""
    null = ""
    if type(None) in get_args(hint):
        hint, null = get_args(hint)[0], ", or `null`"
    of_list = "list, each " if get_origin(hint) is list else ""
    kind = KINDS[get_args(hint)[0] if of_list else hint]
    if rules["choices"]:
        kind = ", ".join(f"`{choice}`" for choice in rules["choices"])
    bounds = "".join(f", {sign} {rules[bound]}" for bound, sign in BOUNDS.items() if rules[bound] is not None)
    return f"{of_list}{kind}{bounds}{null}"


def rows_of(values: list[Any], prefix: str = "") -> Iterator[list[str]]:
    """A row an option: its key, its value in each of `values`, what it may be, what it does."""
    hints = get_type_hints(type(values[0]))
    for field in dataclasses.fields(values[0]):
        own = [getattr(value, field.name) for value in values]
        if dataclasses.is_dataclass(own[0]):
            yield from rows_of(own, f"{prefix}{field.name}.")
        elif field.name != "name":
            shown = [f"`{typed(value)}`" for value in own]
            yield [f"`{prefix}{field.name}`", *shown, valid(hints[field.name], field.metadata), field.metadata["help"]]


def options(title: str, values: Mapping[str, Any]) -> Iterator[str]:
    """The options of choices that have the same ones as a table, with a column a choice."""
    rows = list(rows_of(list(values.values())))
    if rows:
        yield ""
        yield title
        yield from table(["option", *values, "valid", ""], rows)


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
        yield from options(f"### method={name}", {"value": config.method})


def policies(configs: dict[str, RunConfig]) -> Iterator[str]:
    """The policies' part of the page."""
    rows = []
    for name, entry in TEMPERATURES.items():
        agent = "yes" if entry.uses_agent else "—"
        rows.append([f"`{name}`", entry.equation, entry.source, agent])
    yield from POLICIES_HEAD.splitlines()
    yield from table(["policy", "temperature", "source", "options of `agent`"], rows)
    for name, config in configs.items():
        yield from options(f"### temperature={name}", {"value": config.temperature})


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


def methods_page() -> str:
    """The whole page of methods and policies."""
    by_method, by_policy = composed("method", METHODS, "temperature=fixed"), composed("temperature", TEMPERATURES)
    lines = [*HEAD.splitlines(), *methods(by_method), *policies(by_policy), *COMPOSES_HEAD.splitlines()]
    return "\n".join([*lines, *composition(by_method, by_policy)]) + "\n"


def options_page() -> str:
    """The whole page of all other options."""
    with mock.patch.dict(os.environ):
        os.environ.pop("RLKD_DATA", None)  # dataset.root follows it
        (usual,) = compose_command([]).runs
        images = composed("dataset", ["cifar100", "cifar10", "digits"])
    trees = composed("dataset", ["folder", "imagenet"], "dataset.root=FOLDER")
    agents, recipes = composed("agent", ["paper", "official_code"]), composed("recipe", ["cifar", "imagenet"])
    lines = [
        *OPTIONS_HEAD.splitlines(),
        *options("## Of no group", {"value": usual.top}),
        *options("## task", {"value": usual.task}),
        *options("## dataset", {name: run.dataset for name, run in images.items()}),
        *options("## dataset=folder, dataset=imagenet", {name: run.dataset for name, run in trees.items()}),
        *options("## teacher", {"value": usual.teacher}),
        *options("## student", {"value": usual.student}),
        *options("## agent", {name: run.agent for name, run in agents.items()}),
        *options("## recipe", {name: run.recipe for name, run in recipes.items()}),
        *options("## runtime", {"value": usual.runtime}),
    ]
    return "\n".join(lines) + "\n"


PAGES = {"methods.md": methods_page, "options.md": options_page}


def main() -> None:
    """Write both pages."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
        print(f"written   {DOCS / name}")


if __name__ == "__main__":
    main()
