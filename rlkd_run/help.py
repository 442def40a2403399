"""What ``rlkd-run --help`` prints: the page of ``conf/hydra/help`` with the groups as they lie on disk.

Hydra prints the same page, but asks itself anew for every group, those of all of its plugins included: seconds where
several are installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml


def help_page(folders: Sequence[Path]) -> str:
    """The page.

    Args:
        folders: of yaml files, the package's own first.
    """
    page = yaml.safe_load((folders[0] / "hydra" / "help" / "rlkd_run.yaml").read_text())
    text: str = page["template"].replace("$APP_CONFIG_GROUPS", _groups(folders))
    for name in ("header", "footer"):
        text = text.replace(f"${{hydra.help.{name}}}", page[name])
    return text


def _groups(folders: Sequence[Path]) -> str:
    choices: dict[str, set[str]] = {}
    for folder in folders:
        for path in folder.glob("*/*.yaml"):
            if not path.name.startswith("_"):
                choices.setdefault(path.parent.name, set()).add(path.stem)
    return "".join(f"{group}: {', '.join(sorted(names))}\n" for group, names in sorted(choices.items()))
