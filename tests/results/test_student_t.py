from __future__ import annotations

import math

import pytest
from scipy import stats

from rlkd_run.results.student_t import quantile, two_sided


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 31, 200])
def test_equals_scipys(freedom: int) -> None:
    for t in (0.0, 0.3, 1.0, -2.5, 12.0):
        assert two_sided(t, freedom) == pytest.approx(2 * stats.t.sf(abs(t), freedom), abs=1e-13)
    for confidence in (0.5, 0.95, 0.999):
        expected = stats.t.ppf((1 + confidence) / 2, freedom)
        assert quantile(confidence, freedom) == pytest.approx(expected, rel=1e-9)


def test_the_ends() -> None:
    assert two_sided(math.inf, 3) == 0
    with pytest.raises(ValueError, match="at least one degree of freedom"):
        two_sided(1.0, 0)
