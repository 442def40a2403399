"""Student's t distribution for whole degrees of freedom, where its probabilities are finite sums."""

from __future__ import annotations

import math


def two_sided(t: float, freedom: int) -> float:
    """Probability that a t-distributed variable is at least as far from zero as `t`.

    The sums are formulas 26.7.3 and 26.7.4 of Abramowitz and Stegun, Handbook of Mathematical Functions (1964).

    Args:
        t: any number, infinity included.
        freedom: degrees of freedom, at least 1.

    Raises:
        ValueError: `freedom` is below 1.
    """
    if freedom < 1:
        raise ValueError(f"Student's t needs at least one degree of freedom, not {freedom}")
    angle = math.atan(abs(t) / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    # 1 + cos²/2 + (1·3)/(2·4) cos⁴ + … up to cos^(freedom-2); for odd degrees cos + (2/3) cos³ + …
    term, total = (cosine, cosine) if odd else (1.0, 1.0)
    for k in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    if not odd:
        within = math.sin(angle) * total
    elif freedom == 1:
        within = 2 / math.pi * angle
    else:
        within = 2 / math.pi * (angle + math.sin(angle) * total)
    return min(max(1 - within, 0.0), 1.0)


def quantile(confidence: float, freedom: int) -> float:
    """The t > 0 that a t-distributed variable stays within, on both sides of zero, with probability `confidence`.

    Args:
        confidence: above 0 and below 1, such as 0.95.
        freedom: degrees of freedom, at least 1.
    """
    low, high = 0.0, 1.0
    while two_sided(high, freedom) > 1 - confidence:
        low, high = high, 2 * high
    for _ in range(60):  # halving 60 times is as exact as a float
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) > 1 - confidence else (low, middle)
    return (low + high) / 2
