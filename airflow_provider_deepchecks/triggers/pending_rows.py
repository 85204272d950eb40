# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The trigger behind the sensors, and behind operators that wait deferred."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_deepchecks.storage import storage_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_provider_deepchecks.delivery.proof.watch import Sighting, Watch

#: Seconds after a task's own deadline at which Airflow ends a deferral whose trigger does not answer.
DEFER_BACKSTOP = 60.0
#: Status of the event of a trigger whose deadline passed.
TIMEOUT = "timeout"


class DeepchecksPendingRowsTrigger(BaseTrigger):
    """Look at the server every ``poll_interval`` seconds until what is watched is decided.

    What is watched is a receipt's rows, the pending rows of a model or version, or the label coverage of a
    window.

    :param watch: what to wait for, as JSON of
        :class:`~airflow_provider_deepchecks.delivery.proof.watch.Watch`.
    :param deepchecks_conn_id: Airflow connection.
    :param poll_interval: seconds between two looks.
    :param longest_interval: each interval is twice as long as the one before, up to so many seconds; None:
        they stay as they are.
    :param started_at: when the waiting began, epoch seconds.
    :param deadline: when to give up, epoch seconds.
    """

    def __init__(
        self,
        *,
        watch: Mapping[str, Any],
        deepchecks_conn_id: str,
        poll_interval: float,
        started_at: float,
        deadline: float,
        longest_interval: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.watch = dict(watch)
        self.deepchecks_conn_id = deepchecks_conn_id
        self.poll_interval = poll_interval
        self.started_at = started_at
        self.deadline = deadline
        self.longest_interval = longest_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "watch": self.watch,
                "deepchecks_conn_id": self.deepchecks_conn_id,
                "poll_interval": self.poll_interval,
                "started_at": self.started_at,
                "deadline": self.deadline,
                "longest_interval": self.longest_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from airflow_provider_deepchecks.delivery.proof.watch import Looker, Sighting, watch_from_dict
        from airflow_provider_deepchecks.exceptions import DeepchecksError
        from airflow_provider_deepchecks.triggers.shared import Server

        try:
            looker = Looker(watch_from_dict(self.watch), storage_path)
            server = Server(self.deepchecks_conn_id)
            interval, longest = self.poll_interval, self.longest_interval
            while True:
                # The sensor has just looked itself, and a deadline is honoured to the second.
                left = self.deadline - time.time()
                await asyncio.sleep(max(0.0, min(interval, left)))
                sighting = await server.look(looker, self.started_at)
                if not sighting.waiting:
                    yield _event(sighting.to_dict())
                    return
                self.log.info("%s", sighting.message)
                if time.time() >= self.deadline:
                    yield _event({"state": TIMEOUT, "message": sighting.message})
                    return
                if longest is not None:
                    interval = min(2 * interval, longest)
        except DeepchecksError as error:
            # A connection that cannot be read yet may be there for a retry.
            state = Sighting.UNREACHABLE if error.retryable else Sighting.FAILED
            yield _event(Sighting(state, str(error)).to_dict())
        except Exception as error:
            # Airflow's own word for a trigger that broke is one that soft_fail skips over.
            self.log.exception("A look ended in an error that nobody foresaw.")
            told = f"Looking at the server broke off: {type(error).__name__}: {error}"
            yield _event(Sighting(Sighting.UNREACHABLE, told).to_dict())


def defer(
    task: BaseOperator,
    watch: Watch,
    *,
    deepchecks_conn_id: str,
    poll_interval: float,
    started_at: float,
    timeout: float,
    longest_interval: float | None = None,
) -> NoReturn:
    """Leave the worker, and come back to the task's ``execute_complete`` when what is watched is decided.

    :param task: the task that runs.
    :param started_at: when the waiting began, epoch seconds.
    :param timeout: seconds since then after which to give up.
    :param longest_interval: as of the trigger.
    """
    task.defer(
        trigger=DeepchecksPendingRowsTrigger(
            watch=watch.to_dict(),
            deepchecks_conn_id=deepchecks_conn_id,
            poll_interval=poll_interval,
            started_at=started_at,
            deadline=started_at + timeout,
            longest_interval=longest_interval,
        ),
        method_name="execute_complete",
        timeout=timedelta(seconds=timeout + poll_interval + DEFER_BACKSTOP),
    )


def _event(payload: dict[str, Any]) -> TriggerEvent:
    return TriggerEvent(payload)  # type: ignore[no-untyped-call]


def read_event(event: object) -> Sighting | None:
    """The sighting a trigger's event holds; None when its deadline passed.

    :raises DeepchecksServerError: no event, or one of an unknown kind.
    """
    from airflow_provider_deepchecks.delivery.proof.watch import Sighting

    if isinstance(event, Mapping) and event.get("state") == TIMEOUT:
        return None
    return Sighting.from_dict(event)


def last_seen(event: object) -> str:
    """What the trigger saw last before its deadline."""
    return str(event.get("message", "nothing")) if isinstance(event, Mapping) else "nothing"
