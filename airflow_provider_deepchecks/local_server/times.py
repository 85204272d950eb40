# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Sample times: what the server takes for one, and what makes it fail."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_provider_deepchecks.local_server.errors import ServerFault

#: What passes the check of a row. It is wider than what can be read: day 32, year 0000 and a small z pass it
#: and make the whole request fail (measured).
DATE_TIME_PATTERN = (
    r"^\d{4}-[01]\d-[0-3]\d(t|T)[0-2]\d:[0-5]\d:[0-5]\d(?:\.\d+)?"
    r"(?:[+-][0-2]\d:[0-5]\d|[+-][0-2]\d[0-5]\d|z|Z)\Z"
)


def parse_time(text: str) -> datetime:
    """Read a time that passed the check of the row.

    :raises ServerFault: when it is no possible time.
    """
    if text.endswith("z") or "t" in text:
        raise ServerFault(f"time in small letters: {text}")
    try:
        moment = datetime.fromisoformat(text)
        moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ServerFault(f"impossible time: {text}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def zone_name(moment: datetime, text: str) -> str:
    """The zone as the server writes it in the rows of ingestion errors."""
    return "UTC" if text.endswith("Z") else moment.isoformat()[-6:]


def python_repr(moment: datetime, zone: str) -> str:
    """A time as it stands in the row of an ingestion error."""
    parts = [moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second]
    if moment.microsecond:
        parts.append(moment.microsecond)
    return f"DateTime({', '.join(map(str, parts))}, tzinfo=Timezone('{zone}'))"
