"""Labels of the images that a mix plan replaces by mixtures; the pixels are the loaders' part."""

from __future__ import annotations

import torch
from torch import Tensor

from rlkd_run.protocol import Mix, MixPlan


def check_plan(plan: MixPlan, num_images: int) -> None:
    """Refuse a plan that was made for another training set.

    Raises:
        ValueError: partner or weight are not [N], or `labels` is not "mixed" or "low".
    """
    shapes = (tuple(plan.partner.shape), tuple(plan.weight.shape))
    if shapes != ((num_images,), (num_images,)):
        raise ValueError(f"a mix plan for {num_images} images must have tensors of that length, not {shapes}")
    if plan.labels not in ("mixed", "low"):
        raise ValueError(f'MixPlan.labels must be "mixed" or "low", not {plan.labels!r}')


def mixed_labels(plan: MixPlan, index: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Mix | None]:
    """`Batch.target`, `Batch.index` and `Batch.mix` of a batch; images of equal shares keep their own label.

    Args:
        plan: of this epoch, on the device.
        index: the images whose turn it is, [B] int64.
        targets: labels of the training set, [N] int64.
    """
    if plan.labels == "low":
        return targets[index], index, None
    partner, weight = plan.partner[index], plan.weight[index]
    partner_is_larger = weight > 0.5
    larger = torch.where(partner_is_larger, partner, index)
    smaller = torch.where(partner_is_larger, index, partner)
    mix = Mix(targets[smaller], torch.where(partner_is_larger, weight, 1 - weight), mixed=weight > 0)
    return targets[larger], larger, mix
