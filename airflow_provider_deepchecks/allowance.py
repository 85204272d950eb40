# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""How many rows may go wrong, as users write it in arguments: a count (int), or a share (float, 0 to 1)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any


def is_limit(limit: object) -> bool:
    """Whether a value is a count of rows or a share of them."""
    if isinstance(limit, float):
        return 0 <= limit <= 1
    return isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0


def as_number(limit: Any) -> Any:
    """A limit that a template rendered as text, as the number it is; anything else unchanged."""
    if isinstance(limit, str):
        for kind in (int, float):
            with suppress(ValueError):
                return kind(limit)
    return limit


def rows_allowed(limit: int | float, rows: int) -> int:
    """How many of ``rows`` may go wrong."""
    if isinstance(limit, float):
        return int(limit * rows + 1e-6)  # 0.29 * 100 is a little less than 29
    return limit
