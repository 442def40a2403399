"""Any text is one value of an override."""

from __future__ import annotations

from hydra.core.override_parser.overrides_parser import OverridesParser

from rlkd_run.config.quoting import quoted
from rlkd_run.config.search import listed_values

TEXTS = ["/plain", "/it's/here", "/a,b=c[1]{}", '/q"/c', "/end\\", '/both\\"', "/é #;&", ""]


def test_alone_and_in_a_sweep() -> None:
    parser = OverridesParser.create()
    assert [parser.parse_override(f"frozen={quoted(text)}").value() for text in TEXTS] == TEXTS
    assert list(listed_values(parser.parse_override("frozen=" + ",".join(map(quoted, TEXTS))))) == TEXTS
