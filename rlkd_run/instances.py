"""The temperature of every instance of an epoch, and what the record keeps of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rlkd_run.any_order import any_order

HISTOGRAM_BINS = 32
ENTROPY_BINS = 10


class Instances:
    """Temperature, student's uncertainty and label of each instance, in the order in which an epoch shows them.

    All stay on the device until somebody asks; noting a batch never waits for it.

    Args:
        num_images: N, images of an epoch.
        device: where the numbers live.

    Attributes:
        temperatures: [N] float32; NaN where an instance was not shown yet, or had no temperature.
        entropies: of the student's softmax (at temperature 1) over log C, from 0 to 1, [N] float32; noted where
            instances have temperatures of their own, NaN elsewhere.
        targets: [N] int64, noted likewise.
    """

    def __init__(self, num_images: int, device: torch.device) -> None:
        self.temperatures = torch.full((num_images,), torch.nan, device=device)
        self.entropies = torch.full((num_images,), torch.nan, device=device)
        self.targets = torch.zeros(num_images, dtype=torch.int64, device=device)

    def reset(self) -> None:
        """Start an epoch."""
        self.temperatures.fill_(torch.nan)
        self.entropies.fill_(torch.nan)

    @torch.no_grad()
    def note(self, start: int | Tensor, temperature: Tensor, logits: Tensor, target: Tensor) -> None:
        """Note a batch.

        Args:
            start: position of its first instance in the epoch; or on the device, [1] int64.
            temperature: of the student's softmax, 0-dim or [B].
            logits: the student's, [B, C].
            target: labels, [B].
        """
        size = len(target)
        here = slice(start, start + size) if isinstance(start, int) else start + torch.arange(size, device=start.device)
        with any_order():  # each instance has a position of its own
            self.temperatures[here] = temperature
            if temperature.dim():
                log_p = F.log_softmax(logits.float(), dim=1)
                self.entropies[here] = (log_p.exp() * log_p).sum(1) / -math.log(logits.shape[1])
                self.targets[here] = target

    def seen(self) -> Tensor:
        """The temperatures noted so far, on the device; none where there is no teacher."""
        return self.temperatures[torch.isfinite(self.temperatures)]

    def impossible(self) -> tuple[int, float] | None:
        """The first temperature noted that no softmax can have, though the student's logits were finite.

        Waits for the device. A 0-dim one that is NaN cannot be told from none.

        Returns:
            Position of its instance in the epoch, and the temperature; None where all are positive and finite.
        """
        wrong = ~((self.temperatures > 0) & torch.isfinite(self.temperatures))
        shown = torch.isfinite(self.entropies) | ~torch.isnan(self.temperatures)
        bad = wrong & shown
        first = int(bad.int().argmax())
        return (first, float(self.temperatures[first])) if bad[first] else None

    def profile(self) -> dict[str, float]:
        """How the temperature was spread over the instances of the epoch. Waits for the device.

        Returns:
            ``t_min``, ``t_max``; ``histogram_i``, instances in the i-th of 32 equal parts of that range; ``class_c``,
            mean temperature of label c; ``entropy_k`` and ``entropy_count_k``, mean temperature and number of the
            instances whose normalised entropy lies in the k-th tenth. Labels and tenths without an instance are left
            out. Empty where all instances had the same temperature, which the row of means tells already.
        """
        shown = torch.isfinite(self.entropies).cpu()
        temperatures, entropies = self.temperatures.cpu()[shown], self.entropies.cpu()[shown]
        if not len(temperatures) or temperatures.min() == temperatures.max():
            return {}
        low, high = float(temperatures.min()), float(temperatures.max())
        counts = torch.histc(temperatures, HISTOGRAM_BINS, low, high).long().tolist()
        tenths = (entropies * ENTROPY_BINS).long().clamp(0, ENTROPY_BINS - 1)
        sizes = torch.bincount(tenths).tolist()
        return {
            "t_min": _rounded(low),
            "t_max": _rounded(high),
            **{f"histogram_{i}": count for i, count in enumerate(counts)},
            **_means("class", self.targets.cpu()[shown], temperatures),
            **_means("entropy", tenths, temperatures),
            **{f"entropy_count_{k}": size for k, size in enumerate(sizes) if size},
        }

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint within an epoch."""
        return {"temperatures": self.temperatures, "entropies": self.entropies, "targets": self.targets}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        for name, values in self.state_dict().items():
            values.copy_(state[name])


def _means(name: str, groups: Tensor, values: Tensor) -> dict[str, float]:
    """Mean of `values` [N] in each of `groups` [N] that has any: `name_group` -> mean."""
    sizes = torch.bincount(groups)
    means = torch.bincount(groups, weights=values.double()) / sizes
    pairs = zip(means.tolist(), sizes.tolist(), strict=True)
    return {f"{name}_{group}": _rounded(mean) for group, (mean, size) in enumerate(pairs) if size}


def _rounded(value: float) -> float:
    """Five digits: more than a picture shows, and a third of the space."""
    return float(f"{value:.5g}")
