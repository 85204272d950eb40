# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Times as users write them in arguments."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError


def moment(setting: str, value: datetime | str | None) -> datetime | None:
    """The rendered value of a time setting, with a zone; a naive time is UTC, which is Airflow's own zone.

    :param setting: name of the argument, for the error.
    :raises DeepchecksConfigError: text that is no ISO 8601 time.
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
    return value if value.tzinfo else value.replace(tzinfo=UTC)
