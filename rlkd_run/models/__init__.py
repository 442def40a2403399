"""Networks: the CIFAR zoo of the distillation literature, any timm model, their features and their weights.

Nothing is imported here: `rlkd_run.models.names` answers without torch, the other modules need it.
"""
