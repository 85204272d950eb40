# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Send true labels, usually days after the predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError
from airflow_provider_deepchecks.moments import moment
from airflow_provider_deepchecks.operators.base import UploadOperator

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.delivery.proof.settlement import SettlementRules
    from airflow_provider_deepchecks.delivery.upload.batch import Batch, Job
    from airflow_provider_deepchecks.records.columns import Columns


class DeepchecksLogLabelsOperator(UploadOperator):
    """Send labels to a model.

    Labels belong to the model, not to a version: one label reaches every version that holds the sample id.
    The last write wins, and a label for a sample that is not there yet is kept until it comes (measured on
    server 0.19.3).

    Labels never show in pending rows; what proves them are the samples of the window that they belong to: all
    samples of the version, or of the model, unless ``window_start`` and ``window_end`` say better. With the
    ids at hand (on the worker always, in the triggerer with ``ids_path``) and a window of no more than 50,000
    samples, each sample must show its label. Counts alone prove labels of samples that had none; not those
    that replace others, come twice, or belong to samples of several versions.

    The parameters ``data``, ``sql``, ``table``, ``sql_conn_id``, ``sql_parameters``, ``data_conn_id``,
    ``column_mapping``, ``on_invalid_rows``, ``quarantine_path``, ``max_invalid_rows``, ``dry_run``,
    ``skip_if_empty``, ``send_timeout``, ``wait_for_ingestion``, ``status_table``, ``status_conn_id`` and
    those of waiting and of checkpoints are those of
    :class:`~airflow_provider_deepchecks.operators.log_batch.DeepchecksLogBatchOperator`. Other columns of the
    source are not read.

    :param model_name: model (templated).
    :param model_version: version whose samples are labelled, for its classes and the proof; None for all
        versions (templated).
    :param sample_id_column: column of the sample ids: text or integers (templated).
    :param label_column: column of the labels: numbers for regression, classes otherwise (templated).
    :param window_start: time of the oldest sample that is labelled: datetime or ISO 8601 text; None for the
        oldest stored (templated).
    :param window_end: time of the newest sample that is labelled; None for the newest stored (templated).
    :param allow_null_labels: send null labels, which take a label back; otherwise a null label is a bad row.
    :param allow_unmatched: with ``wait_for_ingestion``: labels whose sample is not stored (yet) are no
        failure.
    :param labels_per_send: most labels a request. The server's cost grows faster than their number: 2,000
        take 0.4 s, 20,000 take 14.9 s (measured on server 0.19.3).
    """

    template_fields = (
        *UploadOperator.template_fields,
        "sample_id_column",
        "label_column",
        "window_start",
        "window_end",
    )

    def __init__(
        self,
        *,
        model_name: str,
        sample_id_column: str,
        label_column: str,
        model_version: str | None = None,
        window_start: datetime | str | None = None,
        window_end: datetime | str | None = None,
        allow_null_labels: bool = False,
        allow_unmatched: bool = False,
        labels_per_send: int = 2_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_name = model_name
        self.model_version = model_version
        self.sample_id_column = sample_id_column
        self.label_column = label_column
        self.window_start = window_start
        self.window_end = window_end
        self.allow_null_labels = allow_null_labels
        self.allow_unmatched = allow_unmatched
        self.labels_per_send = labels_per_send

    def _check_arguments(self) -> None:
        super()._check_arguments()
        self._at_least_one("labels_per_send")
        if (window := self._window()) is not None and window[0] > window[1]:
            raise DeepchecksConfigError(
                f"window_start={self.window_start!s} is after window_end={self.window_end!s}: no sample is "
                "in that window. Give the times of the oldest and the newest sample that is labelled."
            )

    def columns(self) -> Columns:
        from airflow_provider_deepchecks.records.columns import Columns

        return Columns(
            sample_id=self.sample_id_column, label=self.label_column, mapping=self.column_mapping or {}
        )

    def job(self, client: DeepchecksClient, batch: Batch) -> Job:
        from airflow_provider_deepchecks.delivery.upload.batch import label_job

        return label_job(
            client,
            self.model_name,
            self.model_version,
            replace(batch, per_send=self.labels_per_send),
            window=self._window(),
            allow_null=self.allow_null_labels,
        )

    def _window(self) -> tuple[datetime, datetime] | None:
        from airflow_provider_deepchecks.delivery.window import ALWAYS

        start, end = moment("window_start", self.window_start), moment("window_end", self.window_end)
        return None if start is None and end is None else (start or ALWAYS[0], end or ALWAYS[1])

    def _rules(self) -> SettlementRules:
        return replace(super()._rules(), allow_unmatched=self.allow_unmatched)
