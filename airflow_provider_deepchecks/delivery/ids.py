# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The ids that were sent, with their labels, kept on disk: counts can lie when runs share a window, ids
cannot."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Protocol, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError, DeepchecksWriteBackError
from airflow_provider_deepchecks.records.batches import guarded
from airflow_provider_deepchecks.records.casts.objects import first_line
from airflow_provider_deepchecks.records.columns import LABEL, SAMPLE_ID
from airflow_provider_deepchecks.records.spool import GROUP_ROWS, Spool, WholeFile, copy_whole, place

if TYPE_CHECKING:
    from collections.abc import Iterator, Set

_ID, _LABEL = "sample_id", "label"
#: Key of the file's metadata that tells whose ids they are.
_NAME = "deepchecks_upload"


class Ids(Protocol):
    """Ids that were sent, in bounded pieces."""

    @property
    def rows(self) -> int:
        """How many ids."""
        ...

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The ids, as batches with a column ``sample_id`` and, where labels were sent, a column ``label`` of
        numbers or texts. Null is a label taken back, or, beside a sample, no label.
        """
        ...


class SentIds:
    """Collects the ids of an upload in a temporary file; a context manager that removes it."""

    def __init__(self) -> None:
        #: By which the file is known again, wherever it is kept.
        self.name = uuid.uuid4().hex
        self._spool = Spool()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.discard()

    @property
    def rows(self) -> int:
        """How many ids."""
        return self._spool.rows

    def add(self, batch: pa.RecordBatch, *, bare: Set[str] = frozenset()) -> None:
        """Keep the ids of a wire batch, and its labels if it has any.

        :param bare: samples whose labels did not go out.
        """
        kept: dict[str, Any] = {_ID: _plain(batch.column(SAMPLE_ID)).cast(pa.string())}
        if LABEL in batch.schema.names:
            labels = _plain(batch.column(LABEL))
            labels = labels.cast(pa.float64() if _is_number(labels.type) else pa.string())
            if bare:
                without = pc.is_in(kept[_ID], value_set=pa.array(sorted(bare), pa.string()))
                labels = pc.if_else(without, pa.scalar(None, labels.type), labels)
            kept[_LABEL] = labels
        self._spool.add(self._named(pa.record_batch(kept)))

    def reset(self) -> None:
        """Forget all ids: the upload starts again."""
        self._spool.discard()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The ids. Nothing can be added once this was called."""
        yield from self._spool.batches()

    def save(self, path: Any) -> None:
        """Keep the ids under a path, URL or ObjectStoragePath; the file is there whole or not at all.

        :raises DeepchecksWriteBackError: it cannot be written.
        """
        if not self._spool.rows:
            self._spool.add(self._named(pa.record_batch({_ID: pa.array([], pa.string())})))
        try:
            copy_whole(self._spool.finish(), path)
        except Exception as error:  # each storage has errors of its own
            raise DeepchecksWriteBackError(
                f"The rows were sent, but their ids could not be kept in ids_path={path}: "
                f"{first_line(error).rstrip('.')}. Run the task again when that is mended: rows that are in "
                "stay as they are."
            ) from error

    def _named(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.replace_schema_metadata({_NAME: self.name})


def check_ids_path(path: Any) -> None:
    """Refuse a path at which no ids can be kept, as far as that can be known before there are any.

    :param path: path, URL or ObjectStoragePath.
    :raises DeepchecksConfigError: no such file can be made.
    """
    WholeFile(path, what="file of the sample ids", setting="ids_path").prepare()


class SavedIds:
    """Ids that an upload has saved.

    :param path: path, URL or ObjectStoragePath.
    :param name: :attr:`SentIds.name` of the upload; None for whatever is there.
    :raises DeepchecksSourceError: there is no such file, or it is another one.
    """

    def __init__(self, path: Any, name: str | None = None) -> None:
        self._filesystem, self._path = place(path)
        try:
            with self._filesystem.open(self._path, "rb") as file:
                parquet = pq.ParquetFile(file)
                self.rows: int = parquet.metadata.num_rows
                names = parquet.schema_arrow.names
                found = (parquet.schema_arrow.metadata or {}).get(_NAME.encode(), b"").decode()
        except Exception as error:  # each storage has errors of its own
            raise DeepchecksSourceError(
                f"The ids that were sent cannot be read from {path}: {error}. Make the file readable here, "
                "or settle by counts (verify='counts')."
            ) from error
        if names not in ([_ID], [_ID, _LABEL]):
            raise DeepchecksSourceError(f"{path} holds no ids of an upload. Give the receipt's ids_path.")
        if name is not None and found != name:
            raise DeepchecksSourceError(
                f"{path} holds the ids of another upload: a later one has written over it. Give each upload "
                "an ids_path of its own, as with {{ run_id }} and {{ ti.map_index }} in it."
            )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The ids.

        :raises DeepchecksSourceError: the file cannot be read any longer.
        """
        yield from guarded(self._batches(), f"Reading the ids that were sent from {self._path}")

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with self._filesystem.open(self._path, "rb") as file:
            yield from pq.ParquetFile(file).iter_batches(GROUP_ROWS)


def _plain(values: Any) -> Any:
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def ours(ids: Ids, among: Set[str]) -> set[str]:
    """Those of some ids that were sent."""
    if not among:
        return set()
    wanted = pa.array(sorted(among), pa.string())
    found: set[str] = set()
    for batch in ids.batches():
        mine: Any = batch.column(0)
        found.update(mine.filter(pc.is_in(mine, value_set=wanted)).to_pylist())
    return found
