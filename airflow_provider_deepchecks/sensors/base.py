# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the sensors share: one look a poll, the same outcome in every mode."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_deepchecks.hooks.deepchecks import DeepchecksHook
from airflow_provider_deepchecks.storage import storage_path
from airflow_provider_deepchecks.triggers.pending_rows import defer, last_seen, read_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_deepchecks.delivery.proof.watch import Looker, Sighting, Watch
    from airflow_provider_deepchecks.exceptions import DeepchecksError

#: What Airflow tells of a trigger that raised or could not be loaded; of one whose time is over, otherwise.
TRIGGER_FAILED = "Trigger failure"


class WatchSensor(BaseSensorOperator):
    """Base of the sensors: subclasses say what to watch.

    :param deepchecks_conn_id: Airflow connection.
    :param deferrable: wait in the triggerer instead of on a worker.
    """

    model_name: str | None
    model_version: str | None

    def __init__(
        self,
        *,
        deepchecks_conn_id: str = DeepchecksHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deepchecks_conn_id = deepchecks_conn_id
        self.deferrable = deferrable

    def watch(self) -> Watch:
        """What to wait for, from the rendered arguments."""
        raise NotImplementedError

    @cached_property
    def hook(self) -> DeepchecksHook:
        """The hook of this task."""
        return DeepchecksHook(self.deepchecks_conn_id)

    @cached_property
    def _looker(self) -> Looker:
        from airflow_provider_deepchecks.delivery.proof.watch import Looker
        from airflow_provider_deepchecks.exceptions import DeepchecksConfigError

        for setting in ("model_name", "model_version"):
            value = getattr(self, setting)
            if value is not None and not isinstance(value, str):
                raise DeepchecksConfigError(f"{setting}= is {type(value).__name__}: give text.")
        self.model_version = self.model_version or None  # rendered from a parameter that the run left empty
        return Looker(self.watch(), storage_path)

    def poke(self, context: Context) -> PokeReturnValue:
        sighting = self._look(context)
        return PokeReturnValue(is_done=not sighting.waiting, xcom_value=dict(sighting.result))

    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            return super().execute(context)
        self._first_look = time.time()
        with self._failing_as_a_poke():
            sighting = self._look(context)
        if sighting.waiting:
            defer(
                self,
                self._looker.watch,
                deepchecks_conn_id=self.deepchecks_conn_id,
                poll_interval=self.poke_interval,
                longest_interval=self._longest_interval(),
                started_at=self._first_look,
                timeout=self.timeout,
            )
        return dict(sighting.result)

    def execute_complete(self, context: Context, event: object = None) -> dict[str, Any]:
        """Resume after the trigger.

        :raises AirflowSensorTimeout: the timeout passed.
        :raises AirflowFailException: an outcome that looking again cannot change.
        """
        sighting = read_event(event)
        if sighting is None:
            raise AirflowSensorTimeout(
                f"Sensor has timed out after {self.timeout:g} s. Last seen: {last_seen(event)}"
            )
        with self._failing_as_a_poke():
            self._finish(sighting)
        return dict(sighting.result)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """As Airflow does it, but ``soft_fail`` does not skip a trigger that broke or could not be loaded.

        :raises DeepchecksServerError: such a trigger.
        """
        from airflow_provider_deepchecks.exceptions import DeepchecksServerError

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException as skip:
            told = (next_kwargs or {}).get("error") if next_method == "__fail__" else None
            if not self.soft_fail or told != TRIGGER_FAILED:
                raise
            raise DeepchecksServerError(
                "The trigger broke, or the triggerer could not load it: this package has to be installed "
                "there too. Run the task again; the traceback above tells what happened."
            ) from skip.__cause__

    def _longest_interval(self) -> float | None:
        """Seconds up to which the intervals between two looks of the trigger grow, if they do."""
        if not self.exponential_backoff:
            return None
        return float(self.max_wait.total_seconds() if self.max_wait else self.timeout)

    @contextmanager
    def _failing_as_a_poke(self) -> Iterator[None]:
        """Skip where Airflow would skip for a poke: elsewhere it skips for fewer errors, or for none."""
        try:
            yield
        except Exception as error:
            if self.never_fail or (self.soft_fail and isinstance(error, AirflowFailException)):
                raise AirflowSkipException(str(error)) from error
            raise

    def _look(self, context: Context) -> Sighting:
        from airflow_provider_deepchecks.exceptions import DeepchecksError

        try:
            sighting = self._looker.look(self.hook.get_conn(), self._watched_for(context))
        except DeepchecksError as error:
            self._raise(error, final=not error.retryable)
        self._finish(sighting)
        return sighting

    def _finish(self, sighting: Sighting) -> None:
        """Log the look, and raise if it failed.

        Rows refused or lost stay so however often this sensor runs: fail for good. Stalled rows may move
        again.
        """
        error = sighting.error()
        if error is None:
            self.log.info("%s", sighting.message)
            return
        from airflow_provider_deepchecks.exceptions import DeepchecksLostRowsError

        self._raise(error, final=not error.retryable or isinstance(error, DeepchecksLostRowsError))

    def _raise(self, error: DeepchecksError, *, final: bool) -> NoReturn:
        """Raise an error, one that looking again cannot mend as Airflow's word for it."""
        if not final or self._must_not_skip(error):
            raise error
        raise AirflowFailException(str(error)) from error

    def _must_not_skip(self, error: DeepchecksError) -> bool:
        """Whether the error must not pass for a skip: ``soft_fail`` forgives time and refused rows, no wrong
        token or name and no lost rows. Airflow's word for a final error would skip; this one may be retried.
        """
        from airflow_provider_deepchecks.exceptions import DeepchecksRefusedRowsError

        return bool(self.soft_fail) and not isinstance(error, DeepchecksRefusedRowsError)

    def _watched_for(self, context: Context) -> float:
        """Seconds since the first look of this try, across reschedules."""
        now = time.time()
        if self.reschedule:
            ti: Any = context["ti"]
            on_3 = hasattr(ti, "get_first_reschedule_date")
            first = ti.get_first_reschedule_date(context) if on_3 else _first_reschedule_on_2(ti)
            return 0.0 if first is None else (datetime.now(UTC) - first).total_seconds()
        if not hasattr(self, "_first_look"):
            self._first_look = now
        return now - self._first_look


def _first_reschedule_on_2(ti: Any) -> datetime | None:
    """When this try was first rescheduled, from Airflow 2.11's database; None before that."""
    from airflow.models.taskreschedule import TaskReschedule
    from airflow.utils.session import create_session

    with create_session() as session:
        reschedules = session.scalars(TaskReschedule.stmt_for_task_instance(ti, descending=False))
        return next((reschedule.start_date for reschedule in reschedules), None)
