# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Celery workers of an Airflow under test."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.kill.installation import Installation
    from tests.services import Service


def celery_settings(redis: Service) -> dict[str, str]:
    """Airflow's settings for Celery."""
    return {
        "AIRFLOW__CELERY__BROKER_URL": f"redis://{redis.host}:{redis.port}/{redis.database}",
        "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
        "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
    }


def start_worker(airflow: Installation, name: str) -> None:
    """Start a Celery worker that runs one task at a time."""
    airflow.start(
        name,
        *("celery", "worker", "--concurrency", "1", "--celery-hostname", f"{name}@%h"),
        *("--pid", str(airflow.home / f"{name}.pid")),
        *("--skip-serve-logs", "--without-gossip", "--without-mingle"),
    )
