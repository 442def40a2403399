"""Softmax regression representation learning (ICLR 2021), in the form of CTKD's experiments (arXiv 2211.16231)."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from rlkd_run.config.methods import FeatureOptions
from rlkd_run.errors import about
from rlkd_run.methods.base import Setting
from rlkd_run.methods.features import BatchNorm, FeatureMethod, penultimate_widths, penultimates
from rlkd_run.models.features import Network
from rlkd_run.protocol import Batch, Needs, Outputs


class SRRL(FeatureMethod):
    """The student's features, brought to the teacher's width, are the teacher's and classify as they do.

    Mean squared difference of phi(f_s) and f_t, and of W_t phi(f_s) + b_t and the teacher's logits, where phi is a 1x1
    convolution with batch norm and ReLU and W_t, b_t are the teacher's last layer.
    """

    needs: ClassVar[Needs] = Needs(penultimate=True)

    def __init__(self, options: FeatureOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        student, teacher = penultimate_widths(setting)
        self.connector = nn.Sequential(nn.Conv2d(student, teacher, 1, bias=False), BatchNorm(teacher), nn.ReLU())
        with about("teacher.model"), Network(setting.teacher) as network:
            # In a tuple, as the layer is the teacher's: this module neither trains nor saves it, and sees the weights
            # that the teacher is given after this.
            self._teacher_classifier = (network.classifier,)

    def feature_loss(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """Both differences, each a mean over all elements."""
        ours, theirs = penultimates(student, teacher)
        connected = self.connector(ours[:, :, None, None]).flatten(1)
        (classifier,) = self._teacher_classifier
        bias = None if classifier.bias is None else classifier.bias.detach()
        logits = F.linear(connected, classifier.weight.detach(), bias)
        return F.mse_loss(connected, theirs) + F.mse_loss(logits, teacher.logits)
