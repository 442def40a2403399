"""CTKD (arXiv 2211.16231) with a temperature for every instance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlkd_run.borrowed_stream import borrowed_stream
from rlkd_run.config.temperatures import CTKDInstanceOptions
from rlkd_run.protocol import Observation
from rlkd_run.seeding import derive_seed
from rlkd_run.temperature.base import PolicySetting
from rlkd_run.temperature.ctkd import AdversarialTemperature


class InstanceCTKD(AdversarialTemperature):
    """r_i comes from a small network that reads both predictions of instance i.

    The paper says no more than "two layers on the concatenated predictions [B, 2C]", and its authors never published
    the module. Ours are: the hidden width (`hidden`) and ReLU; probabilities at T = 1 as input; no gradient from the
    temperature into the student through that input (reversed, it would set the student against itself); and the last
    layer's bias, which starts every instance near CTKD's own first temperature.
    """

    def __init__(self, options: CTKDInstanceOptions, setting: PolicySetting) -> None:
        super().__init__(options, setting)
        with borrowed_stream(derive_seed(setting.config.seed, "temperature", "weights")):
            last = nn.Linear(options.hidden, 1)
            self.module = nn.Sequential(nn.Linear(2 * setting.num_classes, options.hidden), nn.ReLU(), last)
        nn.init.constant_(last.bias, options.initial)
        self.module.to(setting.device)

    def raw(self, observation: Observation) -> Tensor:
        """r, [B]."""
        logits = (observation.teacher_logits, observation.student_logits)
        predictions = torch.cat([value.detach().float().softmax(1) for value in logits], dim=1)
        raw: Tensor = self.module(predictions).squeeze(1)
        return raw
