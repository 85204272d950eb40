# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Times, and numbers of seconds, as users write them in arguments."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError

#: More than 31 years; not much above it clocks and threads refuse to count.
MOST_SECONDS = 1e9


def moment(setting: str, value: datetime | str | None) -> datetime | None:
    """The rendered value of a time setting, with a zone; a naive time is UTC, which is Airflow's own zone.

    :param setting: name of the argument, for the error.
    :raises DeepchecksConfigError: it is no time, or text that is no ISO 8601 time.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise DeepchecksConfigError(
                f"{setting}={value!r} is no ISO 8601 time such as 2026-01-31T10:00:00+00:00."
            ) from error
    if not isinstance(value, datetime):
        raise DeepchecksConfigError(
            f"{setting}={value!r} is {type(value).__name__}: give a datetime, or ISO 8601 text."
        )
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def check_seconds(setting: str, value: object, *, zero: bool = False) -> None:
    """Refuse what is no number of seconds.

    :param setting: name of the argument, for the error.
    :param zero: whether it may be 0.
    :raises DeepchecksConfigError: text, infinity, or a number out of range.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= MOST_SECONDS or (value == 0 and not zero):  # type: ignore[operator]
        raise DeepchecksConfigError(
            f"{setting}={value!r}; give seconds, a number {'of at least' if zero else 'above'} 0"
            f" and at most {MOST_SECONDS:,.0f}."
        )
