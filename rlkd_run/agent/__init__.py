"""RLKD's agent: a policy over the distillation temperature of every training instance, learnt with PPO.

It sees logits, labels and indices only; networks, data sets and losses are unknown to it. Read `agent.py` first: it is
the table of contents of the others.
"""

from rlkd_run.agent.agent import Agent

__all__ = ["Agent"]
