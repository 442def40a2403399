"""Weighted transformed teacher matching (arXiv 2402.11148)."""

from __future__ import annotations

from torch import Tensor

from rlkd_run.methods.ttm import TTM


class WTTM(TTM):
    """TTM with every instance weighted by sum_c p_c^gamma, which is larger the less sure the teacher is."""

    def instance_weights(self, teacher_logits: Tensor) -> Tensor:
        """sum_c p_c^gamma with p = softmax(v) of v [B, C]; [B], between 1 and C^(1 - gamma) for gamma < 1."""
        return (self.gamma * teacher_logits.log_softmax(1)).logsumexp(1).exp()
