# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the server lists about the rows of a receipt after its 200: read, told by reason, and kept whole."""

from __future__ import annotations

import logging
import re
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_deepchecks.delivery.window import window_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.client.types import IngestionError
    from airflow_provider_deepchecks.delivery.receipt import Receipt

log = logging.getLogger(__name__)

#: Entries that go to the file at a time; each can hold a row of nearly a megabyte.
_BATCH = 50
#: Reasons that are told one by one, and told apart at all: a server's words may hold values of rows.
_TOLD, _MOST_REASONS = 20, 1_000
_OTHER = "other reasons"

#: An id that was stored before, and one that came twice in a request or a poll of the queue.
_DUPLICATES = ("Duplicate index", "Got duplicate sample id")
_LABEL_TWICE = "Got duplicate label for sample id: "
_FUTURE = "Got future timestamp"
_TEXT_TIME = re.compile(r"'_dc_time': '([^']+)'")
_PARTS_TIME = re.compile(r"'_dc_time': DateTime\(([\d, ]+), tzinfo=Timezone\('([^']+)'\)\)")
_ABOUT = re.compile(r"[,:]? *(?:for (?:sample )?id|on log for id|sample id)[: ].*$", re.DOTALL)
_FUTURE_TIME = re.compile(r"(Got future timestamp): .*$", re.DOTALL)


def keep_errors(client: DeepchecksClient, receipt: Receipt, path: Any = None) -> None:
    """Log how many rows the server refused for which reason, and keep all that it lists about the receipt.

    Page by page, in bounded memory.

    :param path: Parquet file for the entries, each of them whole; a path, URL or ObjectStoragePath. It is
        there whole or not at all, and not written when nothing is listed. A file that cannot be written is
        a logged error. None keeps nothing.
    :raises DeepchecksError: the server does not answer.
    """
    listed = listed_errors(client, receipt)
    if path is None:
        log_reasons(listed)
        return
    with _ErrorsFile(path) as file:
        log_reasons(_each(listed, file.add))
        file.publish()


def listed_errors(client: DeepchecksClient, receipt: Receipt) -> Iterator[IngestionError]:
    """All that the server lists since the upload began for its version, and for labels of its model.

    Page by page; rows with a time outside of the receipt's window are left out.
    """
    return about(receipt, entries_since(client, receipt))


def entries_since(client: DeepchecksClient, receipt: Receipt) -> Iterator[IngestionError]:
    """The server's list since the upload began, page by page, entries about other rows among them."""
    version_id = None if _wants_labels(receipt) else receipt.version_id
    return client.ingestion_errors(receipt.model_id, version_id=version_id, start=_since(receipt))


def about(receipt: Receipt, entries: Iterable[IngestionError]) -> Iterator[IngestionError]:
    """Those entries that can be about rows of a receipt."""
    start, end = window_of(receipt)
    for error in entries:
        if error.created_at < _since(receipt):
            continue
        if error.version_id is None:
            if _wants_labels(receipt):
                yield error
            continue
        moment = sample_time(error)
        inside = moment is None or start <= moment < end
        if receipt.kind == "samples" and error.version_id == receipt.version_id and inside:
            yield error


def _since(receipt: Receipt) -> datetime:
    return receipt.started_at - timedelta(seconds=2)  # the server's clock is known ±1 s


def _wants_labels(receipt: Receipt) -> bool:
    return receipt.kind == "labels" or receipt.labels is not None


def refused_rows(client: DeepchecksClient, receipt: Receipt) -> Iterator[IngestionError]:
    """Those of :func:`listed_errors` that are refusals: rows stored before are none."""
    return (error for error in listed_errors(client, receipt) if not is_duplicate(error))


def is_duplicate(error: IngestionError) -> bool:
    """Whether an entry is no refusal: the first row of an id is stored, or the same label came twice at once.

    Both happen to rows that are sent again while the first ones are still queued. Another label for the id
    is a refusal: within a request, or a poll of the queue, the first one wins (measured on server 0.19.3).
    """
    if error.error.startswith(_DUPLICATES):
        return True
    start = f"{_LABEL_TWICE}{error.sample_id}. "
    values = error.error.removeprefix(start)
    one = values[: (len(values) - len(" vs ")) // 2]
    return error.error.startswith(start) and values == f"{one} vs {one}"


def is_for_time(error: IngestionError) -> bool:
    """Whether a row was refused for a time in the future: the one refusal that a later sending can undo."""
    return error.error.startswith(_FUTURE)


def reason_of(message: str) -> str:
    """The server's words without the row they are about, so that rows can be counted by reason."""
    if _FUTURE_TIME.match(message):
        return _FUTURE
    return _ABOUT.sub("", message).strip()


def log_reasons(errors: Iterable[IngestionError]) -> Counter[str]:
    """Log how many rows were refused for which reason; duplicates are no refusals.

    :return: rows per reason.
    """
    refused: Counter[str] = Counter()
    duplicates = 0
    for error in errors:
        if is_duplicate(error):
            duplicates += 1
            continue
        reason = reason_of(error.error)
        refused[reason if reason in refused or len(refused) < _MOST_REASONS else _OTHER] += 1
    told = [pair for pair in refused.most_common(_TOLD + 1) if pair[0] != _OTHER][:_TOLD]
    for reason, count in told:
        log.warning("The server refused %s rows: %s", f"{count:,}", reason)
    if others := refused.total() - sum(count for _, count in told):
        log.warning("The server refused %s rows for %s.", f"{others:,}", _OTHER)
    if duplicates:
        log.info("The server lists %s rows or labels that came before.", f"{duplicates:,}")
    return refused


def sample_time(error: IngestionError) -> datetime | None:
    """The refused row's time, read from the text that the server shows of it; None when it does not tell."""
    text = error.sample or ""
    try:
        if found := _TEXT_TIME.search(text):
            moment = datetime.fromisoformat(found[1])
        elif found := _PARTS_TIME.search(text):
            numbers = [int(part) for part in found[1].split(",")]
            zone = "+00:00" if found[2] == "UTC" else found[2]
            moment = datetime.fromisoformat(f"{datetime(*numbers).isoformat()}{zone}")  # type: ignore[arg-type]
        else:
            return None
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo is not None else None


def _each(
    errors: Iterable[IngestionError], take: Callable[[IngestionError], None]
) -> Iterator[IngestionError]:
    for error in errors:
        take(error)
        yield error


class _ErrorsFile:
    """The entries as a Parquet file. Failing to keep them is logged: it must not hide what they tell."""

    def __init__(self, path: Any) -> None:
        import pyarrow as pa

        from airflow_provider_deepchecks.records.spool import WholeFile

        self._schema = pa.schema(
            [
                ("sample_id", pa.string()),
                ("version_id", pa.int64()),
                ("error", pa.string()),
                ("sample", pa.string()),
                ("created_at", pa.timestamp("us", "UTC")),
            ]
        )
        self._file = WholeFile(path, what="file of ingestion errors", setting="quarantine_path")
        self._waiting: list[dict[str, Any]] = []
        self._failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.discard()

    def add(self, error: IngestionError) -> None:
        """Keep an entry."""
        self._waiting.append({name: getattr(error, name) for name in self._schema.names})
        if len(self._waiting) >= _BATCH:
            self._try(self._write)

    def publish(self) -> None:
        """Have the file appear."""
        self._try(self._write)
        self._try(self._publish)

    def _write(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._file.add(pa.RecordBatch.from_pylist(self._waiting, self._schema))

    def _publish(self) -> None:
        if self._file.publish():
            log.info("All that the server lists about these rows is in %s.", self._file.shown)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            if not self._failed:
                action()
        except Exception as error:  # each storage has errors of its own
            self._failed = True
            log.error(
                "What the server lists about these rows cannot be kept in %s: %s", self._file.shown, error
            )
        self._waiting.clear()
