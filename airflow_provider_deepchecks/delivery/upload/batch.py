# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""One batch: what a task uploads, from its source to its receipt.

Here the way of a row is put together: source, check, order, chunks, upload. Operators and the hook both come
in here.
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_deepchecks.delivery.ids import SentIds, check_ids_path
from airflow_provider_deepchecks.delivery.receipt import Example, Receipt
from airflow_provider_deepchecks.delivery.upload.checkpoint import Checkpoint, NoCheckpoint
from airflow_provider_deepchecks.delivery.upload.clock import SystemClock
from airflow_provider_deepchecks.delivery.upload.late import LateRows
from airflow_provider_deepchecks.delivery.upload.targets import LabelTarget, SampleTarget, sample_target
from airflow_provider_deepchecks.delivery.upload.uploader import Uploader, UploadOptions
from airflow_provider_deepchecks.exceptions import DeepchecksInvalidRowsError, DeepchecksNotFoundError
from airflow_provider_deepchecks.records.ahead import ahead
from airflow_provider_deepchecks.records.checks.checker import START_MARGIN, Checker, CheckOptions
from airflow_provider_deepchecks.records.checks.schema import RecordSchema
from airflow_provider_deepchecks.records.chunks.chunker import Chunk, ChunkSizer, chunks
from airflow_provider_deepchecks.records.intake import BadRowRules, Intake
from airflow_provider_deepchecks.records.order import in_time_order
from airflow_provider_deepchecks.records.report import CheckReport, check_limit, too_many
from airflow_provider_deepchecks.records.set_aside import SetAside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    import pyarrow as pa

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.client.types import VersionSchema
    from airflow_provider_deepchecks.delivery.proof.write_back import StatusTable
    from airflow_provider_deepchecks.records.columns import Columns
    from airflow_provider_deepchecks.records.sources.source import Source

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """What to upload, and how.

    :param source: the rows.
    :param columns: which of its columns is what.
    :param per_send: most rows a request.
    :param checks: how rows are read where there is a choice.
    :param bad_rows: what happens to rows that cannot be sent.
    :param checkpoint: where progress survives the task.
    :param repeated: an earlier try may have sent these rows, and nothing is known of it.
    :param ids_path: file that keeps the ids sent; a path, URL or ObjectStoragePath.
    :param status_table: takes the status of each row when sending ends.
    :param send_timeout: seconds without progress, waiting for the rate limit left out, after which to give
        up.
    :param cancelled: set it to stop between two requests, or two batches read.
    """

    source: Source
    columns: Columns
    per_send: int
    checks: CheckOptions = field(default_factory=CheckOptions)
    bad_rows: BadRowRules = field(default_factory=BadRowRules)
    checkpoint: Checkpoint = field(default_factory=NoCheckpoint)
    repeated: bool = False
    ids_path: Any = None
    status_table: StatusTable | None = None
    send_timeout: float = 900.0
    cancelled: threading.Event = field(default_factory=threading.Event)

    def in_order(self) -> bool:
        """Whether the source is known to give its rows in the order of time and id."""
        source, columns = self.source, self.columns
        return source.ordered or (
            columns.timestamp is not None
            and source.in_order(
                columns.timestamp, columns.sample_id, naive_is_utc=self.checks.timezone in (None, "UTC")
            )
        )

    def fingerprint(self) -> str:
        """Identity of what is sent: another source, or another reading of it, is another batch."""
        return f"{self.source.fingerprint()}|{self.columns}|{self.checks}|{self.bad_rows.on_late}"


class Job:
    """A batch on its way to one target; made by :func:`sample_job` or :func:`label_job`.

    :param schema: what the rows have to look like.
    :param late: sets aside late rows; None when they are sent, or cannot be late.
    """

    def __init__(
        self,
        client: DeepchecksClient,
        batch: Batch,
        target: SampleTarget | LabelTarget,
        schema: RecordSchema,
        *,
        late: Callable[..., Any] | None = None,
    ) -> None:
        check_limit(batch.bad_rows.max_invalid)
        self.target = target
        self._client = client
        self._batch = batch
        self._schema = schema
        self._late = late
        self._clock = SystemClock(client.server_now, batch.cancelled)
        self._started_at: datetime | None = None

    def check(self) -> CheckReport:
        """Read and check every row, and send none.

        :raises DeepchecksSourceError: the source cannot be read.
        :raises DeepchecksColumnsError: its columns do not fit the version.
        """
        report = self._intake(replace(self._batch.bad_rows, quarantine_path=None)).check(self._clock.check)
        log.info("%s", report.text())
        return report

    def run(self) -> Receipt:
        """Read, check and send every row.

        :return: the receipt. The rows sent are *waiting* in it: the server has yet to store them.
        :raises DeepchecksConfigError: a file or table that is to be written cannot be: nothing was sent.
        :raises DeepchecksInvalidRowsError: rows that cannot be sent, where they, or so many of them, may not
            be passed over.
        :raises DeepchecksError: the source cannot be read, or the rows cannot be sent.
        """
        batch = self._batch
        samples = isinstance(self.target, SampleTarget)
        sizer = ChunkSizer(max_rows=batch.per_send)
        with ExitStack() as stack:
            table = batch.status_table
            if table is not None:
                table.check()
            if batch.ids_path is not None:
                check_ids_path(batch.ids_path)
            set_aside = stack.enter_context(SetAside()) if table is not None else None
            intake = stack.enter_context(self._intake(batch.bad_rows, set_aside))
            wanted = batch.ids_path is not None or table is not None
            ids = stack.enter_context(SentIds()) if wanted else None
            keep = intake.quarantine is not None and batch.bad_rows.on_invalid == "quarantine"
            uploader = Uploader(
                self._client,
                self.target,
                UploadOptions(
                    source=batch.source.description,
                    # Hashing a frame costs more than checking it: only where a retry can use it.
                    fingerprint="" if isinstance(batch.checkpoint, NoCheckpoint) else batch.fingerprint(),
                    total_rows=lambda: intake.report.good if intake.complete else None,
                    with_labels=samples and batch.columns.label is not None,
                    repeated=batch.repeated,
                    send_timeout=batch.send_timeout,
                ),
                checkpoint=batch.checkpoint,
                sizer=sizer,
                ids=ids,
                on_rejected=intake.quarantine.reject if keep and intake.quarantine is not None else None,
                clock=self._clock,
            )
            receipt = uploader.run(
                lambda: self._chunks(intake, sizer, uploader.started_at), rereadable=batch.source.rereadable
            )
            if ids is not None and batch.ids_path is not None:
                ids.save(batch.ids_path)
                receipt = replace(receipt, ids_path=str(batch.ids_path), ids_name=ids.name)
            paths = intake.quarantine.close() if intake.quarantine is not None else []
            if table is not None and set_aside is not None and ids is not None:
                from airflow_provider_deepchecks.delivery.proof.statuses import when_sent

                # The receipt still has all rows that the server cannot take: they are few.
                table.replace(when_sent(ids, set_aside, receipt.examples, quarantined=keep))
                receipt = replace(receipt, write_back=table.to_dict())
        receipt = _with_bad_rows(receipt, intake.report, paths)
        limit = batch.bad_rows.max_invalid
        if keep and too_many(receipt.quarantined, receipt.read, limit, complete=True):
            raise DeepchecksInvalidRowsError(
                f"{receipt.quarantined:,} of {receipt.read:,} rows are in quarantine ({', '.join(paths)}), "
                f"those that the server cannot take among them: more than max_invalid_rows={limit} lets "
                "pass. The others were sent. Correct them at the source, or set another limit.",
                reasons=receipt.reasons,
            )
        if batch.bad_rows.quarantine_path is not None:
            receipt = replace(receipt, errors_path=str(batch.bad_rows.errors_path()))
        log.info("%s.", receipt.summary())
        return receipt

    def _intake(self, rules: BadRowRules, set_aside: SetAside | None = None) -> Intake:
        return Intake(
            self._batch.source,
            self._checker,
            rules,
            set_aside_late=self._late,
            watermark=self.target.watermark if isinstance(self.target, SampleTarget) else None,
            set_aside=set_aside,
        )

    def _checker(self) -> Checker:
        checks = self._batch.checks
        if self._started_at is not None and checks.default_time is None:
            checks = replace(checks, default_time=self._started_at - START_MARGIN)
        return Checker(self._schema, checks, now=self._client.server_now)

    def _chunks(self, intake: Intake, sizer: ChunkSizer, started_at: datetime) -> Iterator[Chunk]:
        """The rows in the order they go out, cut into requests; the next one is made while one is sent.

        :param started_at: when the first attempt at this upload began: rows without a time get this one in
            each attempt, so that a retry knows them again.
        """
        self._started_at = started_at
        stopped = threading.Event()

        def unless_stopped() -> None:
            # The first chunk can take all rows, to be sorted: nobody may want it any longer.
            self._clock.check()
            SystemClock(cancelled=stopped).check()

        rows = intake.batches(unless_stopped)
        kind = "samples" if isinstance(self.target, SampleTarget) else "labels"
        if isinstance(self.target, SampleTarget):
            rows = in_time_order(rows, ordered=self._batch.in_order())
        with closing(ahead(chunks(rows, sizer, kind), stop=stopped.set)) as made:  # type: ignore[arg-type]
            yield from made


def sample_job(client: DeepchecksClient, model_name: str, version_name: str, batch: Batch) -> Job:
    """The job that sends samples to a version.

    :raises DeepchecksNotFoundError: no such model or version; the message lists the nearest names.
    :raises DeepchecksColumnsError: a column setting that the version cannot have.
    """
    target = sample_target(client, model_name, version_name)
    task_type = client.model(target.model_id).task_type
    schema = RecordSchema.samples(client.schema(target.version_id), task_type, batch.columns)
    late = None
    watermark = target.watermark
    if batch.bad_rows.on_late != "send" and watermark is not None and batch.columns.timestamp is not None:

        def all_rows() -> Iterator[pa.RecordBatch]:
            checker = Checker(schema, batch.checks, now=client.server_now)
            return Intake(batch.source, lambda: checker, batch.bad_rows).good_rows()

        late = LateRows(
            client,
            target.version_id,
            watermark,
            repeated=batch.repeated,
            all_rows=all_rows if batch.source.rereadable else None,
        )
    if batch.columns.timestamp is None:
        log.warning(
            "The rows come without times, so each gets the time of this upload. Deepchecks monitors windows "
            "of time: give the times of the predictions (timestamp_column, or timestamps)."
        )
    return Job(client, batch, target, schema, late=late)


def label_job(
    client: DeepchecksClient,
    model_name: str,
    version_name: str | None,
    batch: Batch,
    *,
    window: tuple[datetime, datetime] | None = None,
    allow_null: bool = False,
) -> Job:
    """The job that sends labels to a model.

    :param version_name: version whose classes and samples count, None for all of the model.
    :param window: inclusive times of the samples that are labelled, None for all.
    :param allow_null: null labels take a label back; otherwise they are bad rows.
    :raises DeepchecksNotFoundError: no such model or version.
    """
    model, version = client.resolve(model_name, version_name)
    versions = [version] if version is not None else list(model.versions)
    if not versions:
        raise DeepchecksNotFoundError(f"Model {model_name!r} has no version, so there is nothing to label.")
    schema = RecordSchema.labels(
        client.model(model.id).task_type,
        batch.columns,
        classes=_common_classes([client.schema(item.id) for item in versions]),
        allow_null=allow_null,
    )
    target = LabelTarget(model.name, model.id, tuple(item.id for item in versions), window)
    return Job(client, batch, target, schema)


def _common_classes(schemas: list[VersionSchema]) -> tuple[str, ...] | None:
    """The classes when all versions that declare some declare the same; None when nothing is certain."""
    declared = {schema.classes for schema in schemas if schema.classes is not None}
    return declared.pop() if len(declared) == 1 else None


def _with_bad_rows(receipt: Receipt, report: CheckReport, paths: list[str]) -> Receipt:
    """The receipt with the rows that the checks kept back; what was read is counted at the source."""
    return receipt.with_read(
        report.read,
        quarantined=report.bad,
        quarantine_path=paths[0] if paths else None,
        reasons=report.reasons,
        examples=tuple(Example(row.sample_id, row.reason) for row in report.examples),
    )
