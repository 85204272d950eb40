# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Upload a batch of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError
from airflow_provider_deepchecks.operators.base import UploadOperator

if TYPE_CHECKING:
    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.delivery.upload.batch import Batch, Job
    from airflow_provider_deepchecks.records.columns import Columns


class DeepchecksLogBatchOperator(UploadOperator):
    """Send a batch of predictions (samples) to one version of a model.

    Every row is checked against the version's schema before it is sent, and goes out in time order. The
    result is a receipt: counts, the batch's time window, and what
    :class:`~airflow_provider_deepchecks.sensors.pending_rows.DeepchecksPendingRowsSensor` needs to prove that
    every row arrived. HTTP 200 alone does not prove it: the server checks rows later (measured on server
    0.19.3). Either wait for the receipt with the sensor, or set ``wait_for_ingestion``.

    The rows come from exactly one of ``data``, ``sql`` and ``table``. Columns of the source that have none of
    the parts below must be columns of the version.

    :param model_name: model (templated).
    :param model_version: version of the model (templated).
    :param sample_id_column: column of the sample ids: text or integers (templated).
    :param prediction_column: column of the predictions: numbers for regression, classes otherwise
        (templated).
    :param timestamp_column: column of the sample times: timestamps, dates, ISO 8601 text, or epoch numbers in
        ``timestamp_unit`` (templated). None: all rows get the time of the upload, with a warning.
    :param prediction_probas_columns: columns of the probabilities, one a class in the order of the sorted
        classes, or one column of lists (templated).
    :param label_column: column of the true labels; where it is not null the label is sent too
        (templated).
    :param data: an upstream task's output (XComArg): pandas or Polars frame, Arrow table or reader, anything
        with ``__arrow_c_stream__``, list of dicts, dict of columns; a path, URI or ObjectStoragePath (one, a
        list, or a glob) to Parquet, CSV, JSON lines or Arrow IPC files; or a callable that returns one of
        these when the task runs, given those entries of the context that it names (templated). Rows
        themselves are not for ``.partial()`` and ``.expand()`` of a mapped task: Airflow 3 keeps what these
        are given with the DAG, so give them paths, callables or outputs of tasks.
    :param sql: query, or the name of a ``.sql`` file (templated).
    :param table: table or view, instead of a query (templated).
    :param sql_conn_id: Airflow connection of the warehouse for ``sql`` and ``table`` (templated).
    :param sql_parameters: parameters of the query, in the driver's style (templated).
    :param data_conn_id: Airflow connection of the object storage for ``data`` (templated).
    :param column_mapping: source's column -> version's column, where they differ (templated).
    :param samples_per_send: most rows a request; None for the connection's setting (10,000 unless set).
    :param timezone: zone of times that name none, an IANA name; None: such times are bad rows.
    :param timestamp_unit: unit of epoch numbers, seconds unless set.
    :param non_finite: NaN and infinities are sent as ``null``, or make the row ``invalid``. A prediction or a
        probability is never null, so there they always make the row invalid.
    :param on_invalid_rows: ``fail`` (nothing more is sent), or ``quarantine``: bad rows go to
        ``quarantine_path`` and the others are sent (templated).
    :param quarantine_path: Parquet file, local or on object storage, for bad rows with their reasons
        (templated); each mapped task needs its own, with ``{{ ti.map_index }}`` in it. When waiting ends with
        rows that are not in, here or in a sensor, all that the server lists about them goes beside it:
        ``bad.parquet`` -> ``bad-errors.parquet``, and ``bad-errors-3.parquet`` of the mapped task 3.
    :param max_invalid_rows: with ``quarantine``, fail when more rows are bad, those that the server cannot
        take among them: a count (int) or a share (float) (templated).
    :param on_late_rows: rows older than the version's newest sample (watermark): ``fail``, ``send`` or
        ``quarantine`` (templated). Deepchecks asks for samples in time order within a version.
    :param dry_run: read and check everything and send nothing; the result is a report.
    :param skip_if_empty: skip the task when the source holds no rows; otherwise it succeeds with a receipt of
        0 rows.
    :param send_timeout: seconds without progress after which sending gives up; waiting for the rate limit
        does not count.
    :param wait_for_ingestion: succeed only once every row is accounted for on the server.
    :param max_refused: with ``wait_for_ingestion``: rows that the server may refuse, a count (int) or a share
        (float) (templated).
    :param verify: with ``wait_for_ingestion``: what proves the rows. ``auto`` compares the sample ids
        themselves where they are at hand (on the worker always, in the triggerer with ``ids_path``) and the
        window holds no more than 50,000 rows, and counts otherwise; ``counts`` compares ids only where counts
        cannot decide; ``ids`` always, up to 500,000 rows, and lets nothing pass without.
    :param wait_timeout: seconds to wait for the server.
    :param poll_interval: seconds between two looks while waiting.
    :param lost_after: seconds after the upload after which rows that are neither stored nor listed are lost,
        where none is pending.
    :param stall_after: seconds without movement after which pending rows are stalled.
    :param ids_path: Parquet file for the sample ids that were sent, so that a sensor or a deferred wait can
        compare ids (templated).
    :param status_table: table for what became of each row, ``name`` or ``schema.name`` (templated). One row a
        row read, with the columns ``id``, ``status``, ``reason`` and ``run``; made if it is not there. The
        status is ``stored`` (in Deepchecks, whichever run sent it), ``refused``, ``quarantined``, or
        ``waiting``: sent, and not yet proven. The table is written when all rows are sent, and again, here or
        by a sensor with the receipt, when waiting ends with all rows accounted for. ``run`` is
        ``dag_id/task_id/run_id``, with ``/map_index`` in a mapped task, the same in every attempt; its rows
        are replaced in one transaction. An index on ``run`` keeps that quick in a large table.
    :param status_conn_id: Airflow connection of its database, ``sql_conn_id`` unless given (templated).
    :param durable: keep progress in Airflow's task state (3.3 and later), so that a retry goes on where it
        stopped.
    :param checkpoint_path: keep progress in this file instead, on any Airflow (templated).
    :param deepchecks_conn_id: Airflow connection (templated).
    :param deferrable: wait in the triggerer.
    """

    model_version: str

    template_fields = (
        *UploadOperator.template_fields,
        "sample_id_column",
        "timestamp_column",
        "prediction_column",
        "prediction_probas_columns",
        "label_column",
        "on_late_rows",
    )

    def __init__(
        self,
        *,
        model_name: str,
        model_version: str,
        sample_id_column: str,
        prediction_column: str,
        timestamp_column: str | None = None,
        prediction_probas_columns: Sequence[str] | str | None = None,
        label_column: str | None = None,
        samples_per_send: int | None = None,
        on_late_rows: Literal["fail", "send", "quarantine"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_name = model_name
        self.model_version = model_version
        self.sample_id_column = sample_id_column
        self.prediction_column = prediction_column
        self.timestamp_column = timestamp_column
        self.prediction_probas_columns = prediction_probas_columns
        self.label_column = label_column
        self.samples_per_send = samples_per_send
        self.on_late_rows = on_late_rows

    def _check_arguments(self) -> None:
        super()._check_arguments()
        self._at_least_one("samples_per_send")
        probas = self.prediction_probas_columns
        if probas is not None and not isinstance(probas, Sequence):
            raise DeepchecksConfigError(
                f"prediction_probas_columns={probas!r}: name one column a class, or one column of lists."
            )
        if not self.model_version:
            raise DeepchecksConfigError("model_version= is empty once it is rendered: name a version.")

    def columns(self) -> Columns:
        from airflow_provider_deepchecks.records.columns import Columns

        probas = self.prediction_probas_columns
        return Columns(
            sample_id=self.sample_id_column,
            timestamp=self.timestamp_column,
            prediction=self.prediction_column,
            prediction_probas=(probas,) if isinstance(probas, str) else tuple(probas or ()),
            label=self.label_column,
            mapping=self.column_mapping or {},
        )

    def job(self, client: DeepchecksClient, batch: Batch) -> Job:
        from airflow_provider_deepchecks.delivery.upload.batch import sample_job

        if self.samples_per_send is not None:
            batch = replace(batch, per_send=self.samples_per_send)
        return sample_job(client, self.model_name, self.model_version, batch)
