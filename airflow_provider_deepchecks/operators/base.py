# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the two upload operators share: where rows come from, what happens to bad ones, waiting."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, BaseOperator, conf

from airflow_provider_deepchecks.allowance import as_number
from airflow_provider_deepchecks.exceptions import (
    DeepchecksConfigError,
    DeepchecksError,
    DeepchecksLostRowsError,
    DeepchecksStalledError,
)
from airflow_provider_deepchecks.hooks.deepchecks import DeepchecksHook
from airflow_provider_deepchecks.links.deepchecks import DeepchecksModelLink
from airflow_provider_deepchecks.moments import check_seconds
from airflow_provider_deepchecks.operators.inputs import SourceArguments, hide_rows
from airflow_provider_deepchecks.operators.progress import checkpoint_for
from airflow_provider_deepchecks.operators.write_back import status_table_of, wanted_status_table
from airflow_provider_deepchecks.storage import storage_path
from airflow_provider_deepchecks.triggers.pending_rows import defer, last_seen, read_event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.delivery.proof.settlement import SettlementRules
    from airflow_provider_deepchecks.delivery.proof.watch import Sighting
    from airflow_provider_deepchecks.delivery.proof.write_back import StatusTable
    from airflow_provider_deepchecks.delivery.receipt import Receipt
    from airflow_provider_deepchecks.delivery.upload.batch import Batch, Job
    from airflow_provider_deepchecks.delivery.upload.checkpoint import Checkpoint
    from airflow_provider_deepchecks.records.columns import Columns


class UploadOperator(BaseOperator):
    """Base of the operators that upload rows; see them for the parameters."""

    template_fields: Sequence[str] = (
        "model_name",
        "model_version",
        "data",
        "sql",
        "table",
        "sql_conn_id",
        "sql_parameters",
        "data_conn_id",
        "column_mapping",
        "on_invalid_rows",
        "quarantine_path",
        "max_invalid_rows",
        "max_refused",
        "checkpoint_path",
        "ids_path",
        "status_table",
        "status_conn_id",
        "deepchecks_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql", "sql_parameters": "json", "column_mapping": "json"}
    ui_color = "#e9e2fb"
    operator_extra_links = (DeepchecksModelLink(),)

    model_name: str
    model_version: str | None
    #: Labels cannot be late.
    on_late_rows: Literal["fail", "send", "quarantine"] = "send"

    def __init__(
        self,
        *,
        data: Any = None,
        sql: str | None = None,
        table: str | None = None,
        sql_conn_id: str | None = None,
        sql_parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        data_conn_id: str | None = None,
        column_mapping: Mapping[str, str] | None = None,
        timezone: str | None = None,
        timestamp_unit: Literal["s", "ms", "us", "ns"] | None = None,
        non_finite: Literal["null", "invalid"] = "null",
        on_invalid_rows: Literal["fail", "quarantine"] = "fail",
        quarantine_path: str | None = None,
        max_invalid_rows: int | float | None = None,
        dry_run: bool = False,
        skip_if_empty: bool = False,
        send_timeout: float = 900.0,
        wait_for_ingestion: bool = False,
        max_refused: int | float = 0,
        verify: Literal["auto", "counts", "ids"] = "auto",
        wait_timeout: float = 3600.0,
        poll_interval: float = 30.0,
        lost_after: float = 300.0,
        stall_after: float = 900.0,
        ids_path: str | None = None,
        status_table: str | None = None,
        status_conn_id: str | None = None,
        durable: bool = True,
        checkpoint_path: str | None = None,
        deepchecks_conn_id: str = DeepchecksHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data = data
        self.sql = sql
        self.table = table
        self.sql_conn_id = sql_conn_id
        self.sql_parameters = sql_parameters
        self.data_conn_id = data_conn_id
        self.column_mapping = column_mapping
        self.timezone = timezone
        self.timestamp_unit = timestamp_unit
        self.non_finite = non_finite
        self.on_invalid_rows = on_invalid_rows
        self.quarantine_path = quarantine_path
        self.max_invalid_rows = max_invalid_rows
        # BaseOperator has a method dry_run.
        self.check_only = dry_run
        self.skip_if_empty = skip_if_empty
        self.send_timeout = send_timeout
        self.wait_for_ingestion = wait_for_ingestion
        self.max_refused = max_refused
        self.verify = verify
        self.wait_timeout = wait_timeout
        self.poll_interval = poll_interval
        self.lost_after = lost_after
        self.stall_after = stall_after
        self.ids_path = ids_path
        self.status_table = status_table
        self.status_conn_id = status_conn_id
        self.durable = durable
        self.checkpoint_path = checkpoint_path
        self.deepchecks_conn_id = deepchecks_conn_id
        self.deferrable = deferrable

    # Airflow sets template fields once they are rendered and stores their text. Rows are hidden from both.
    @property
    def data(self) -> Any:
        """The ``data`` argument; what holds rows is wrapped in :class:`~.inputs.Rows`."""
        return self._data

    @data.setter
    def data(self, value: object) -> None:
        self._data = hide_rows(value)

    @cached_property
    def hook(self) -> DeepchecksHook:
        """The hook of this task."""
        return DeepchecksHook(self.deepchecks_conn_id)

    @cached_property
    def _cancelled(self) -> threading.Event:
        # Made when the task runs: Airflow copies the tasks of a DAG, and an event cannot be copied.
        return threading.Event()

    # -- the task ------------------------------------------------------------------------------------------

    def job(self, client: DeepchecksClient, batch: Batch) -> Job:
        """The batch and where it goes; what the subclasses do differently."""
        raise NotImplementedError

    def columns(self) -> Columns:
        """Which of the source's columns is what."""
        raise NotImplementedError

    def execute(self, context: Context) -> dict[str, Any]:
        """Upload the rows.

        :returns: the receipt, see :class:`~airflow_provider_deepchecks.delivery.receipt.Receipt`; of a dry
            run the report of the checks.
        :raises AirflowFailException: what a retry cannot mend: settings, names, rows.
        :raises DeepchecksError: what it can: an unreachable server, a failed query.
        """
        with final_errors(), ExitStack() as stack:
            self._check_arguments()
            status_table = self._status_table(context)
            client = self.hook.get_conn()
            checkpoint = self._checkpoint(context)
            batch = replace(self._batch(context, checkpoint, stack), status_table=status_table)
            job = self.job(client, batch)
            DeepchecksModelLink.persist(context, client.settings.base_url, job.target.model_id)
            if self.check_only:
                return job.check().to_dict()
            receipt = job.run()
            self.hook.report_lineage(self.model_name, self.model_version)
            if receipt.read == 0 and self.skip_if_empty:
                checkpoint.clear()
                raise AirflowSkipException(f"The source holds no rows ({receipt.source}).")
            if self.wait_for_ingestion:
                return self._wait(receipt, checkpoint)
            checkpoint.clear()
            return receipt.to_dict()

    def execute_complete(self, context: Context, event: object = None) -> dict[str, Any]:
        """Resume after the trigger saw how the upload ended."""
        with final_errors():
            sighting = read_event(event)
            if sighting is None:
                raise self._timed_out(last_seen(event))
            return self._settled(sighting, self._checkpoint(context))

    def on_kill(self) -> None:
        """Stop between two requests; what was acknowledged stays."""
        self._cancelled.set()

    # -- waiting -------------------------------------------------------------------------------------------

    def _rules(self) -> SettlementRules:
        from airflow_provider_deepchecks.delivery.proof.settlement import SettlementRules

        return SettlementRules(
            max_refused=as_number(self.max_refused),
            lost_after=self.lost_after,
            stall_after=self.stall_after,
            verify=self.verify,
        )

    def _wait(self, receipt: Receipt, checkpoint: Checkpoint) -> dict[str, Any]:
        from airflow_provider_deepchecks.delivery.proof.watch import Looker, ReceiptWatch

        watch = ReceiptWatch(receipt.to_dict(), self._rules())
        looker, client, started = Looker(watch, storage_path), self.hook.get_conn(), time.time()
        while True:
            sighting = looker.look(client, time.time() - started)
            if not sighting.waiting:
                return self._settled(sighting, checkpoint)
            self.log.info("%s", sighting.message)
            if self.deferrable:
                # What only this task can read is gone when it leaves its worker.
                lasting = receipt if self.ids_path else replace(receipt, ids_path=None)
                defer(
                    self,
                    replace(watch, receipt=lasting.to_dict()),
                    deepchecks_conn_id=self.deepchecks_conn_id,
                    poll_interval=self.poll_interval,
                    started_at=started,
                    timeout=self.wait_timeout,
                )
            left = started + self.wait_timeout - time.time()
            if left <= 0:
                raise self._timed_out(sighting.message)
            if self._cancelled.wait(min(self.poll_interval, left)):
                raise DeepchecksStalledError("The task was stopped while it waited for the server.")

    def _settled(self, sighting: Sighting, checkpoint: Checkpoint) -> dict[str, Any]:
        """The receipt of rows that are in; otherwise the error, and a retry that sends lost rows again."""
        from airflow_provider_deepchecks.delivery.proof.outcome import conclude

        # The checkpoint stays when this fails: a retry finds the rows sent, and waits and writes again.
        conclude(sighting, self.hook.get_conn, storage_path, status_table_of)
        error = sighting.error()
        # Stalled rows may be lost too: pending stays above 0 after a failed poll, until more rows come.
        if error is None or isinstance(error, DeepchecksLostRowsError | DeepchecksStalledError):
            checkpoint.clear()
        if error is not None:
            raise error
        self.log.info("%s", sighting.message)
        return {**sighting.result, "ids_path": sighting.result["ids_path"] if self.ids_path else None}

    def _timed_out(self, seen: str) -> DeepchecksStalledError:
        return DeepchecksStalledError(
            f"The rows were sent, but not all of them were in after wait_timeout={self.wait_timeout:g} s. "
            f"Last seen: {seen} A retry goes on from here; rows that are in stay as they are."
        )

    # -- arguments -----------------------------------------------------------------------------------------

    def _check_arguments(self) -> None:
        """Find what is wrong before anything is read or sent.

        :raises DeepchecksConfigError: naming the setting.
        """
        from airflow_provider_deepchecks.records.sources.source import is_path

        self._one_of("on_invalid_rows", "fail", "quarantine")
        self._one_of("on_late_rows", "fail", "send", "quarantine")
        for setting in ("on_invalid_rows", "on_late_rows"):
            if getattr(self, setting) == "quarantine" and not self.quarantine_path:
                raise DeepchecksConfigError(
                    f"{setting}='quarantine' needs quarantine_path=, the Parquet file that takes the rows "
                    "set aside."
                )
        for setting in ("send_timeout", "wait_timeout", "poll_interval"):
            check_seconds(setting, getattr(self, setting))
        if not self.model_name:
            raise DeepchecksConfigError("model_name= is empty once it is rendered: name a model.")
        if self.verify == "ids" and self.wait_for_ingestion and self.deferrable and not self.ids_path:
            raise DeepchecksConfigError(
                "verify='ids' in a deferrable task needs ids_path=, a file for the sample ids that the "
                "triggerer can read too; or set deferrable=False."
            )
        optional = ("model_version", "sql_conn_id", "data_conn_id", "status_conn_id")
        for setting in ("model_name", "sql", "table", "status_table", *optional):
            value = getattr(self, setting)
            if value is not None and not isinstance(value, str):
                raise DeepchecksConfigError(f"{setting}= is {type(value).__name__}: give text.")
            if value == "" and setting in optional:
                setattr(self, setting, None)  # rendered from a parameter that the run left empty
        for setting in ("quarantine_path", "checkpoint_path", "ids_path"):
            value = getattr(self, setting)
            if value is not None and not is_path(value):
                raise DeepchecksConfigError(f"{setting}= is {type(value).__name__}: give a path or a URI.")
        self._rules()
        self._source_arguments().check()

    def _one_of(self, setting: str, *values: str) -> None:
        if getattr(self, setting) not in values:
            known = ", ".join(map(repr, values))
            raise DeepchecksConfigError(f"{setting}={getattr(self, setting)!r}; it is one of {known}.")

    def _at_least_one(self, setting: str) -> None:
        value = getattr(self, setting)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise DeepchecksConfigError(f"{setting}={value!r}; it is a number of rows, at least 1.")

    def _batch(self, context: Context, checkpoint: Checkpoint, stack: ExitStack) -> Batch:
        from airflow_provider_deepchecks.delivery.upload.batch import Batch
        from airflow_provider_deepchecks.records.checks.checker import CheckOptions
        from airflow_provider_deepchecks.records.intake import BadRowRules

        ti: Any = context["ti"]
        columns = self.columns()
        order_by = () if columns.timestamp is None else (columns.timestamp, columns.sample_id)
        return Batch(
            source=self._source_arguments(order_by).open(context),
            columns=columns,
            per_send=self.hook.samples_per_send,
            checks=CheckOptions(self.timezone, self.timestamp_unit, self.non_finite),
            bad_rows=BadRowRules(
                part=(
                    f"{ti.dag_id}/{ti.task_id}/{ti.run_id}",
                    ti.map_index if ti.map_index is not None else -1,
                ),
                on_invalid=self.on_invalid_rows,
                on_late=self.on_late_rows,
                max_invalid=as_number(self.max_invalid_rows),
                quarantine_path=storage_path(self.quarantine_path or None),
            ),
            checkpoint=checkpoint,
            repeated=ti.try_number > 1,
            ids_path=storage_path(self._ids_path(stack)),
            send_timeout=self.send_timeout,
            cancelled=self._cancelled,
        )

    def _status_table(self, context: Context) -> StatusTable | None:
        return wanted_status_table(
            context,
            table=self.status_table,
            status_conn_id=self.status_conn_id,
            sql_conn_id=self.sql_conn_id,
        )

    def _ids_path(self, stack: ExitStack) -> str | None:
        """Where the ids are kept: as told, or until the end of this task when it compares them itself."""
        if self.ids_path or not self.wait_for_ingestion or self.verify == "counts":
            return self.ids_path or None
        return f"{stack.enter_context(TemporaryDirectory(prefix='deepchecks-ids-'))}/ids.parquet"

    def _source_arguments(self, order_by: Sequence[str] = ()) -> SourceArguments:
        return SourceArguments(
            data=self.data,
            sql=self.sql,
            table=self.table,
            sql_conn_id=self.sql_conn_id,
            sql_parameters=self.sql_parameters,
            data_conn_id=self.data_conn_id,
            order_by=order_by,
        )

    def _checkpoint(self, context: Context) -> Checkpoint:
        return checkpoint_for(context, path=self.checkpoint_path, durable=self.durable)


@contextmanager
def final_errors() -> Iterator[None]:
    """Turn errors that a retry cannot mend into Airflow's word for them, which spends no retries."""
    try:
        yield
    except DeepchecksError as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error
