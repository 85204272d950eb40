# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The file of rows that were kept out, with the reasons: Parquet, there as a whole or not at all.

A corrected quarantine file can be sent like any other: the columns added here are passed over then.
"""

from __future__ import annotations

import io
import logging
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError
from airflow_provider_deepchecks.records.casts.cast import cell
from airflow_provider_deepchecks.records.casts.numbers import is_number
from airflow_provider_deepchecks.records.casts.texts import cast_text, is_text, plain_text
from airflow_provider_deepchecks.records.columns import (
    POSITION,
    QUARANTINE_COLUMNS,
    ROW_ID,
    ROW_POSITION,
    ROW_REASONS,
    SAMPLE_ID,
    TIME,
)
from airflow_provider_deepchecks.records.reasons import counted
from airflow_provider_deepchecks.records.spool import WholeFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from airflow_provider_deepchecks.records.checks.checked import Checked
    from airflow_provider_deepchecks.records.reasons import Array

log = logging.getLogger(__name__)

#: Keys of the file's metadata that tell whose rows it holds.
_RUN, _INDEX = "deepchecks_run", "deepchecks_map_index"


class Quarantine:
    """The quarantine of one run. As a context manager it publishes the file at the end, after an error too.

    Nothing is written when no row is bad. A file of an earlier attempt is replaced. Locally the file appears
    by a rename, on object storage by one upload.

    :param path: local path, URL of an fsspec filesystem (``s3://...``), or an ObjectStoragePath.
    :param storage_options: options of the filesystem, for URLs.
    :param part: run of a task, and which of its mapped tasks this is. A file of another one is not replaced.
    :raises DeepchecksConfigError: the file cannot be written there; told on entering where that can be known.
    """

    def __init__(
        self,
        path: Any,
        *,
        storage_options: Mapping[str, Any] | None = None,
        part: tuple[str, int] | None = None,
    ) -> None:
        told: Any = {
            "what": "quarantine file",
            "setting": "quarantine_path",
            "storage_options": storage_options,
        }
        self.path = str(path)
        metadata = None if part is None else {_RUN: part[0], _INDEX: str(part[1])}
        self._kept = _RowFile(lambda: WholeFile(path, **told), metadata)
        self._rejected = _RowFile(lambda: WholeFile(beside(path, "rejected"), **told), metadata)

    def __enter__(self) -> Quarantine:
        self._kept.file.prepare()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            self.close()
        except DeepchecksConfigError as error:
            if kind is None:
                raise
            log.error("%s", error)  # the error that ended the run is the one to see

    @property
    def rows(self) -> int:
        """Rows in quarantine so far."""
        return self._kept.file.rows + self._rejected.file.rows

    def add(self, checked: Checked) -> None:
        """Put in the bad rows of a batch.

        :param checked: a checked batch.
        """
        bad = checked.bad
        if bad is not None:
            self._kept.add(
                _explained_rows(bad, checked.bad_positions(), checked.bad_ids(), checked.bad_reasons())
            )

    def reject(self, rows: pa.RecordBatch, reason: str) -> None:
        """Put in checked rows that the server cannot take after all; their columns are the version's.

        They go to a file of their own beside the quarantine's, whose name ends with ``-rejected``.

        :param rows: rows of a wire batch.
        :param reason: why.
        """
        sent = [name for name in rows.schema.names if name != POSITION]
        renamed = rows.select(sent).rename_columns(["_dc_time" if name == TIME else name for name in sent])
        ids = rows.column(SAMPLE_ID).to_pylist()
        positions = rows.column(POSITION).to_numpy()
        self._rejected.add(_explained_rows(renamed, positions, ids, [[reason]] * rows.num_rows))

    def close(self) -> list[str]:
        """Publish what is in quarantine.

        :return: the paths of the files, none when no row is in quarantine.
        :raises DeepchecksConfigError: a file cannot be written, or is that of another mapped task.
        """
        return [rows.file.shown for rows in (self._kept, self._rejected) if rows.publish()]

    def discard(self) -> None:
        """Forget what is in quarantine."""
        self._kept.discard()
        self._rejected.discard()


class _RowFile:
    """A Parquet file of rows as they were read: a column gets a type that holds all there is in it.

    The batches of a source may differ in their types, and a Parquet file has one for each column.

    :param new_file: makes the file.
    :param metadata: of the file; tells whose it is.
    """

    def __init__(self, new_file: Callable[[], WholeFile], metadata: dict[str, str] | None) -> None:
        self._new_file = new_file
        self._metadata = metadata
        self._schema: pa.Schema | None = None
        self.file = new_file()

    def add(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        schema = batch.schema if self._schema is None else _holding(self._schema, batch.schema)
        if self._schema is not None and schema != self._schema:
            written, self.file = self.file, self._new_file()
            try:
                for before in written.batches():
                    self._write(before, schema)
            finally:
                written.discard()
        self._schema = schema
        self._write(batch, schema)

    def _write(self, batch: pa.RecordBatch, schema: pa.Schema) -> None:
        self.file.add(_as(batch, schema).replace_schema_metadata(self._metadata))

    def publish(self) -> bool:
        """Make the file appear; False when there is nothing in it.

        :raises DeepchecksConfigError: see :meth:`WholeFile.publish`; or another mapped task's is there.
        """
        if self.file.rows and self._is_of_another():
            rows = self.file.rows
            self.discard()
            raise DeepchecksConfigError(
                f"The quarantine file {self.file.shown} holds rows of another mapped task of this run, and "
                f"{counted(rows)} of this one would take their place. Give each a file of its own, with "
                "{{ ti.map_index }} in quarantine_path, and run the tasks again: rows that are in stay as "
                "they are."
            )
        return self.file.publish()

    def _is_of_another(self) -> bool:
        if self._metadata is None:
            return False
        there = self.file.metadata_there()
        return there.get(_RUN) == self._metadata[_RUN] and there.get(_INDEX) != self._metadata[_INDEX]

    def discard(self) -> None:
        """Forget all rows."""
        self.file.discard()
        self._schema = None


def beside(path: Any, what: str, suffix: str = ".parquet") -> Any:
    """A path beside the quarantine file: ``bad.parquet`` -> ``bad-rejected.parquet``.

    :param path: the quarantine's path.
    :param what: what the other file holds.
    :param suffix: how its name ends.
    """
    name = PurePosixPath(str(path)).name
    sibling = f"{name.removesuffix('.parquet')}-{what}{suffix}"
    return path.removesuffix(name) + sibling if isinstance(path, str) else path.parent / sibling


def _explained_rows(
    rows: pa.RecordBatch,
    positions: npt.NDArray[np.int64],
    ids: Sequence[str | None],
    reasons: Sequence[Sequence[str]],
) -> pa.RecordBatch:
    """The rows as the file holds them: with their places, ids and reasons."""
    own = [name for name in rows.schema.names if name not in QUARANTINE_COLUMNS]
    columns = [_storable(rows.column(name)) for name in own]
    columns += [pa.array(positions), pa.array(ids, pa.string()), pa.array(reasons, pa.list_(pa.string()))]
    return pa.RecordBatch.from_arrays(columns, names=[*own, ROW_POSITION, ROW_ID, ROW_REASONS])


def _holding(one: pa.Schema, other: pa.Schema) -> pa.Schema:
    """The schema that holds the rows of both, whose columns have the same names."""
    return pa.schema([(field.name, _common(field.type, other.field(field.name).type)) for field in one])


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    families = (pa.types.is_signed_integer, pa.types.is_unsigned_integer, pa.types.is_floating)
    if any(is_kind(one) and is_kind(other) for is_kind in families):
        return max(one, other, key=lambda kind: int(kind.bit_width))
    return pa.string()


def _as(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    if batch.schema == schema:
        return batch
    arrays = [_as_type(batch.column(field.name), field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _as_type(values: Array, kind: pa.DataType) -> Array:
    return _as_text(values) if is_text(kind) and not is_text(values.type) else values.cast(kind)


def _as_text(values: Array) -> Array:
    if is_number(values.type):
        return cast_text(values).values
    cells = (cell(values, row) for row in range(len(values)))
    return pa.array([None if one is None else str(one) for one in cells], pa.string())


def _storable(values: Array) -> Array:
    """A column as Parquet can hold it: text is made valid, and what Parquet cannot hold becomes text."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if is_text(values.type):
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            raw = plain_text(values).cast(pa.binary()).to_pylist()
            return pa.array([None if one is None else one.decode("utf-8", "replace") for one in raw])
        return plain_text(values)
    try:
        kept = _in_milliseconds(values)
        pq.write_table(pa.table({"column": kept.slice(0, 0)}), io.BytesIO())
    except pa.ArrowException:
        return _as_text(values)
    return kept


def _in_milliseconds(values: Array) -> Array:
    """Times in seconds as Parquet has them, which knows no seconds; old Arrows write too large ones wrong."""
    if pa.types.is_timestamp(values.type) and values.type.unit == "s":
        return values.cast(pa.timestamp("ms", values.type.tz))
    return values
