# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Deepchecks in any task, by an Airflow connection."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from itertools import islice
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowNotFoundException,
    BaseHook,
    get_current_context,
)

from airflow_provider_deepchecks import connection
from airflow_provider_deepchecks.exceptions import (
    DeepchecksConfigError,
    DeepchecksError,
    DeepchecksMissingConnectionError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.client.settings import ClientSettings
    from airflow_provider_deepchecks.client.types import (
        IngestionError,
        IngestionStatus,
        Model,
        ModelVersion,
    )
    from airflow_provider_deepchecks.delivery.upload.batch import Batch
    from airflow_provider_deepchecks.records.casts.times import TimestampUnit
    from airflow_provider_deepchecks.records.columns import Columns

#: Seconds that each step of a connection test may take: somebody sits and waits.
TEST_SECONDS = 5.0


class DeepchecksHook(BaseHook):
    """Reads and writes models of a Deepchecks Monitoring server.

    :param deepchecks_conn_id: Airflow connection of type ``deepchecks``.
    """

    conn_name_attr = "deepchecks_conn_id"
    default_conn_name = "deepchecks_default"
    conn_type = connection.CONN_TYPE
    hook_name = connection.HOOK_NAME

    def __init__(self, deepchecks_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deepchecks_conn_id = deepchecks_conn_id
        self._client: DeepchecksClient | None = None

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Fields of the connection form, as Airflow before 3.2 reads them."""
        return connection.form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """What the connection form hides and renames, as Airflow before 3.2 reads it."""
        return connection.ui_field_behaviour()

    # -- the connection ------------------------------------------------------------------------------------

    @cached_property
    def connection_settings(self) -> connection.ConnectionSettings:
        """What the connection says, checked.

        :raises DeepchecksMissingConnectionError: there is none of this id.
        :raises DeepchecksConfigError: a field of it is wrong.
        """
        conn_id = self.deepchecks_conn_id
        if not isinstance(conn_id, str) or not conn_id:
            raise DeepchecksConfigError(
                f"deepchecks_conn_id={conn_id!r}: name an Airflow connection of type 'deepchecks'."
            )
        try:
            found = self.get_connection(conn_id)
        except AirflowNotFoundException as error:
            raise DeepchecksMissingConnectionError("deepchecks_conn_id", conn_id) from error
        return connection.read_connection(found)

    @property
    def settings(self) -> ClientSettings:
        """Where and how to call the server."""
        return self.connection_settings.client

    @property
    def samples_per_send(self) -> int:
        """Most rows in one request, as the connection says."""
        return self.connection_settings.samples_per_send

    def get_conn(self) -> DeepchecksClient:
        """The client, made at the first call and kept. Nothing is sent yet.

        :raises DeepchecksConfigError: a field of the connection is wrong.
        """
        if self._client is None:
            from airflow_provider_deepchecks.client.api import DeepchecksClient

            self._client = DeepchecksClient(self.settings)
        return self._client

    def test_connection(self) -> tuple[bool, str]:
        """Try the connection: reach the server, check the token, count the models. Never raises.

        :return: whether it works, and what was found.
        """
        from airflow_provider_deepchecks.client.api import DeepchecksClient

        try:
            seconds = min(self.settings.timeout, TEST_SECONDS)
            quick = replace(self.settings, timeout=seconds, connect_timeout=seconds, retries=0)
            with DeepchecksClient(quick) as client:
                version, models = client.backend_version(), client.available_models()
        except (DeepchecksError, AirflowException) as error:
            return False, str(error)
        except Exception as error:  # the form shows what is returned, and nothing of what is raised
            return False, f"The test failed with {type(error).__name__}."
        return (
            True,
            f"Deepchecks {version} at {self.settings.host} shows {len(models)} model(s) to this token.",
        )

    # -- reading -------------------------------------------------------------------------------------------

    def get_model(self, model_name: str) -> Model:
        """One model by its name.

        :raises DeepchecksNotFoundError: there is none; the message lists the nearest names.
        """
        model, _ = self.get_conn().resolve(model_name)
        return self.get_conn().model(model.id)

    def get_model_version(self, model_name: str, version_name: str) -> ModelVersion:
        """One version by its names, with the times of its oldest and newest sample.

        :raises DeepchecksNotFoundError: there is none; the message lists the nearest names.
        """
        _, version = self.get_conn().resolve(model_name, version_name)
        return self.get_conn().version(version.id)

    def get_ingestion_status(self, model_name: str, model_version: str) -> IngestionStatus:
        """How far a version is: rows pending, samples and labels stored, newest sample time, last update.

        Counts every stored row, so it is nothing to poll often on a large version (300 ms at 1,000,000 rows).

        :raises DeepchecksNotFoundError: no such model or version.
        """
        model, version = self.get_conn().resolve(model_name, model_version)
        return self.get_conn().ingestion_status(model.id, version.id)

    def get_ingestion_errors(
        self,
        model_name: str,
        model_version: str | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 1000,
    ) -> list[IngestionError]:
        """Rows that the server refused after it had answered 200, ordered by their message.

        :param model_version: only errors of this version; errors of labels belong to none.
        :param start: only errors noted since, with a time zone.
        :param end: only errors noted until, with a time zone.
        :param limit: most errors to fetch.
        :raises DeepchecksConfigError: a time without a zone, or a limit that is no number of rows.
        :raises DeepchecksNotFoundError: no such model or version.
        """
        _check_number("limit", limit, least=0)
        model, version = self.get_conn().resolve(model_name, model_version)
        errors = self.get_conn().ingestion_errors(
            model.id,
            version_id=version.id if version else None,
            start=start,
            end=end,
            page_size=max(1, min(limit, 300)),
        )
        return list(islice(errors, limit))

    # -- writing -------------------------------------------------------------------------------------------

    def log_batch(
        self,
        sample_ids: Any,
        data: Any,
        predictions: Any,
        prediction_probas: Any = None,
        timestamps: Any = None,
        samples_per_send: int | None = None,
        *,
        model_name: str,
        model_version: str,
        timezone: str | None = None,
        timestamp_unit: TimestampUnit | None = None,
        on_late_rows: Literal["fail", "send"] = "fail",
    ) -> dict[str, Any]:
        """Send a batch of samples. Every row is checked before anything is sent; one bad row fails the batch.

        HTTP 200 does not mean stored: hand the receipt to
        :class:`~airflow_provider_deepchecks.sensors.pending_rows.DeepchecksPendingRowsSensor` to prove every
        row.

        A sequence is a Series, an array or a list, with one value a sample; indexes of pandas play no part.
        NaN and infinities are sent as null in features and additional data, and are bad elsewhere.

        :param sample_ids: text or integers, each once.
        :param data: features and additional data as columns: a frame, an Arrow table, a dict of columns, or a
            list of dicts; None when the version has none.
        :param predictions: numbers for regression, classes otherwise.
        :param prediction_probas: two dimensions, one column a class. Columns that bear the names of the
            classes go by these; others are taken in their order, classes sorted.
        :param timestamps: epoch seconds (or ``timestamp_unit``), datetimes, ISO 8601 text, or times of Arrow,
            NumPy or pandas. None is now, with a warning.
        :param samples_per_send: most rows a request; None for the connection's setting (10,000 unless set).
        :param timezone: zone of times that name none, an IANA name; None: such times are bad rows.
        :param timestamp_unit: unit of numeric times: ``s`` (unless set), ``ms``, ``us`` or ``ns``.
        :param on_late_rows: rows older than the version's newest sample: ``fail``, or ``send`` them all the
            same.
        :return: the receipt, see :class:`~airflow_provider_deepchecks.delivery.receipt.Receipt`.
        :raises DeepchecksConfigError: an argument is no sequence, they differ in length, or another one has a
            value that it cannot have.
        :raises DeepchecksColumnsError: the columns do not fit the version.
        :raises DeepchecksInvalidRowsError: bad rows.
        :raises DeepchecksError: the rows cannot be sent.
        """
        from airflow_provider_deepchecks.delivery.upload.batch import sample_job
        from airflow_provider_deepchecks.hooks import arguments
        from airflow_provider_deepchecks.records.columns import (
            PREDICTION,
            PROBABILITIES,
            SAMPLE_ID,
            Columns,
        )

        if on_late_rows not in ("fail", "send"):
            raise DeepchecksConfigError(f"on_late_rows={on_late_rows!r}; here it is 'fail' or 'send'.")
        if samples_per_send is not None:
            _check_number("samples_per_send", samples_per_send, least=1)
        if prediction_probas is not None:
            _, version = self.get_conn().resolve(model_name, model_version)
            assert version is not None
            classes = self.get_conn().schema(version.id).classes
            prediction_probas = arguments.in_class_order(prediction_probas, classes)
        rows = arguments.sample_columns(sample_ids, data, predictions, prediction_probas, timestamps)
        columns = Columns(
            sample_id=SAMPLE_ID,
            timestamp=None if timestamps is None else arguments.TIMESTAMP,
            prediction=PREDICTION,
            prediction_probas=() if prediction_probas is None else (PROBABILITIES,),
        )
        per_send = self.samples_per_send if samples_per_send is None else samples_per_send
        batch = self._batch(
            rows, columns, per_send, timezone=timezone, timestamp_unit=timestamp_unit, on_late=on_late_rows
        )
        receipt = sample_job(self.get_conn(), model_name, model_version, batch).run()
        self.report_lineage(model_name, model_version)
        return receipt.to_dict()

    def log_sample(
        self,
        sample_id: str | int,
        prediction: Any,
        values: Mapping[str, Any] | None = None,
        prediction_proba: Any = None,
        timestamp: Any = None,
        *,
        model_name: str,
        model_version: str,
        **options: Any,
    ) -> dict[str, Any]:
        """Send one sample; for more than a few, :meth:`log_batch` is a thousand times as fast.

        :param values: feature or additional column -> value.
        :param prediction_proba: one probability a class, classes sorted.
        :param timestamp: as in :meth:`log_batch`.
        :param options: as in :meth:`log_batch`.
        :return: the receipt.
        :raises DeepchecksError: as :meth:`log_batch`.
        """
        return self.log_batch(
            [sample_id],
            None if values is None else {name: [value] for name, value in values.items()},
            [prediction],
            None if prediction_proba is None else [prediction_proba],
            None if timestamp is None else [timestamp],
            model_name=model_name,
            model_version=model_version,
            **options,
        )

    def log_batch_labels(
        self,
        sample_ids: Any,
        labels: Any,
        labels_per_send: int = 2_000,
        *,
        model_name: str,
        model_version: str | None = None,
    ) -> dict[str, Any]:
        """Send labels. They reach every version that holds the sample, now or later; the last one wins.

        :param sample_ids: text or integers, each once.
        :param labels: numbers for regression, classes otherwise.
        :param labels_per_send: most labels a request.
        :param model_version: version that proves the labels; None for all of the model.
        :return: the receipt.
        :raises DeepchecksError: as :meth:`log_batch`.
        """
        from airflow_provider_deepchecks.delivery.upload.batch import label_job
        from airflow_provider_deepchecks.hooks import arguments
        from airflow_provider_deepchecks.records.columns import LABEL, SAMPLE_ID, Columns

        _check_number("labels_per_send", labels_per_send, least=1)
        rows = arguments.label_columns(sample_ids, labels)
        batch = self._batch(rows, Columns(sample_id=SAMPLE_ID, label=LABEL), labels_per_send)
        receipt = label_job(self.get_conn(), model_name, model_version, batch).run()
        self.report_lineage(model_name, model_version)
        return receipt.to_dict()

    def log_label(
        self, sample_id: str | int, label: Any, *, model_name: str, model_version: str | None = None
    ) -> dict[str, Any]:
        """Send one label.

        :return: the receipt.
        :raises DeepchecksError: as :meth:`log_batch`.
        """
        return self.log_batch_labels([sample_id], [label], model_name=model_name, model_version=model_version)

    def _batch(
        self,
        rows: Mapping[str, Any],
        columns: Columns,
        per_send: int,
        *,
        timezone: str | None = None,
        timestamp_unit: TimestampUnit | None = None,
        on_late: Literal["fail", "send"] = "send",
    ) -> Batch:
        from airflow_provider_deepchecks.delivery.upload.batch import Batch
        from airflow_provider_deepchecks.records.checks.checker import CheckOptions
        from airflow_provider_deepchecks.records.intake import BadRowRules
        from airflow_provider_deepchecks.records.sources.frames import open_frame

        return Batch(
            source=open_frame(rows),
            columns=columns,
            per_send=per_send,
            checks=CheckOptions(timezone=timezone, timestamp_unit=timestamp_unit),
            bad_rows=BadRowRules(on_late=on_late),
            repeated=_is_retry(),
        )

    # -- lineage -------------------------------------------------------------------------------------------

    def report_lineage(self, model_name: str, model_version: str | None = None) -> None:
        """Tell Airflow's lineage collector that this task wrote to a model, or one version of it."""
        path = "/".join(quote(name, safe="") for name in (model_name, model_version) if name is not None)
        collector = get_hook_lineage_collector()  # type: ignore[no-untyped-call]
        collector.add_output_asset(context=self, uri=f"deepchecks://{self.settings.host}/{path}")


def _check_number(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, Integral) or value < least:
        raise DeepchecksConfigError(f"{name}={value!r}; give a whole number of at least {least}.")


def _is_retry() -> bool:
    """Whether this is a retry of a task, whose earlier try may have sent the same rows."""
    try:
        return bool(get_current_context()["ti"].try_number > 1)
    except (AirflowException, RuntimeError):  # called outside of a task
        return False
