"""All alert rules, in their groups."""

from __future__ import annotations

from typing import Final

from tools.monitoring import (
    rules_data,
    rules_dependencies,
    rules_objectives,
    rules_operator,
    rules_pools,
    rules_runs,
)

GROUPS: Final = (
    rules_runs.GROUP,
    rules_data.GROUP,
    rules_pools.GROUP,
    rules_operator.GROUP,
    rules_dependencies.GROUP,
    rules_objectives.FAST_GROUP,
    rules_objectives.SLOW_GROUP,
)
RULES: Final = tuple(rule for group in GROUPS for rule in group.rules)
