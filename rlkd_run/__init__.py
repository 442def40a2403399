"""Experiment runner for knowledge distillation with learned instance temperatures (RLKD, arXiv 2407.00115)."""

__version__ = "0.1.0"
