# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A receipt's window as the server takes it: [start, end)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_deepchecks.delivery.receipt import Receipt

#: Times of the server's own rows are whole microseconds.
TICK = timedelta(microseconds=1)
#: A window without bounds, as the server itself writes it.
ALWAYS = (datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC))


def window_of(receipt: Receipt) -> tuple[datetime, datetime]:
    """The receipt's window, without its end."""
    if receipt.window_start is None or receipt.window_end is None:
        return ALWAYS
    return receipt.window_start, receipt.window_end + TICK
