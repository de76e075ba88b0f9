"""Cost of a verification, before it is run: gradients, answers, seconds and bytes."""

from .asked import Asked, asked_by
from .measured import AttackCost, attack_cost

__all__ = ["Asked", "AttackCost", "asked_by", "attack_cost"]
