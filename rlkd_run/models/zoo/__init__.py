"""The CIFAR networks that the distillation literature compares on, one file a family.

Parameter names are those of RepDistiller and mdistiller, so that published teachers load as they are.
"""
