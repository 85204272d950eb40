# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows that are in memory already: frames, Arrow tables and streams, lists of dicts, dicts of columns."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError, DeepchecksUnusableSourceError
from airflow_provider_deepchecks.records.batches import (
    BATCH_ROWS,
    Meanings,
    bounded,
    fingerprint,
    guarded,
    no_rows,
    relation_reader,
    unique_names,
)
from airflow_provider_deepchecks.records.casts.objects import arrow_array, arrow_type
from airflow_provider_deepchecks.records.order import is_sorted


@dataclass
class FrameSource:
    """Rows in memory. A stream (reader, generator) can be read once.

    :ivar select: reads some of the columns alone, None where that takes as long as reading all.
    """

    description: str
    rereadable: bool
    read: Callable[[], Iterator[pa.RecordBatch]]
    select: Callable[[list[str]], Iterator[pa.RecordBatch]] | None = None
    ordered: bool = False
    untyped: bool = False
    spent: bool = False

    def batches(self) -> Iterator[pa.RecordBatch]:
        """See :class:`~airflow_provider_deepchecks.records.sources.source.Source`."""
        if self.spent and not self.rereadable:
            raise DeepchecksSourceError(f"The {self.description} is used up: it can be read only once")
        self.spent = True
        return bounded(guarded(self.read(), f"Reading the {self.description}"), f"The {self.description}")

    def in_order(self, time: str, sample_id: str, *, naive_is_utc: bool) -> bool:
        """Whether the rows are seen to come sorted by time and id, at the cost of a look at two columns.

        :param naive_is_utc: whether times without a zone are UTC. In another zone the clock is put back.
        """
        if self.select is None:
            return False
        try:
            return is_sorted(self.select([time, sample_id]), naive_is_utc=naive_is_utc)
        except Exception:
            return False  # each kind of frame has errors of its own; reading the rows tells what is wrong

    def fingerprint(self) -> str:
        """Hash the rows themselves, at about 1 GB/s. A stream can be told from another only by reading it up,
        so each one counts as new.
        """
        if not self.rereadable:
            return fingerprint("stream", uuid.uuid4())
        digest = hashlib.blake2b(digest_size=16)
        for batch in self.batches():
            # As a stream, since a batch alone goes without the values of its dictionaries.
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as stream:
                stream.write_batch(batch)
            digest.update(sink.getvalue())
        return fingerprint("frame", digest.hexdigest())


def open_frame(data: Any) -> FrameSource:
    """Open rows that are in memory, without copying them whole.

    :param data: a pandas DataFrame (its index is not read: call ``reset_index()`` for an index that is data),
        a Polars frame, an Arrow table, batch or reader, anything else with ``__arrow_c_stream__``, a list of
        dicts, a dict of columns of equal length, or a list or iterator of Arrow batches, tables or frames.
    :raises DeepchecksSourceError: the object is none of these.
    """
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    if isinstance(data, pa.Table):
        return _table(data, "Arrow table")
    if _is_frame(data, "pandas"):
        return FrameSource(
            "pandas frame", True, lambda: _pandas_batches(data), lambda names: _pandas_batches(data[names])
        )
    if _is_frame(data, "polars"):
        return FrameSource(
            "Polars frame",
            True,
            lambda: _polars_batches(data),
            # Not by select(), which enters Polars' thread pool: that hangs in a forked task.
            lambda names: _polars_batches(type(data)([data.get_column(name) for name in names])),
        )
    if hasattr(data, "__arrow_c_stream__") and type(data).__name__ != "Series":
        name = f"{type(data).__module__.partition('.')[0]} {type(data).__name__}"
        # A frame gives a new stream each time, a reader is spent. Only frames have columns to ask for.
        rereadable = hasattr(data, "columns")
        return FrameSource(name, rereadable, lambda: _stream_batches(data))
    if isinstance(data, Mapping):
        return _dict(data)
    if isinstance(data, (list, tuple)):
        return _list(data)
    if isinstance(data, Iterator):
        return FrameSource(f"{type(data).__name__} of batches", False, lambda: _mixed_batches(data))
    raise DeepchecksUnusableSourceError(
        f"Rows cannot be read from {_article(data)}; give a frame, an Arrow table, a list of dicts, a dict "
        "of columns or paths of files"
        + (" (collect() a LazyFrame first)" if type(data).__name__ == "LazyFrame" else "")
    )


def _article(data: Any) -> str:
    return f"an object of type {type(data).__module__}.{type(data).__qualname__}"


def _is_frame(data: Any, package: str) -> bool:
    # By name: whoever holds a frame has imported its package, others need not.
    return any(
        cls.__module__.partition(".")[0] == package and cls.__name__ == "DataFrame"
        for cls in type(data).__mro__
    )


def _table(table: pa.Table, description: str) -> FrameSource:
    return FrameSource(
        description,
        True,
        lambda: _stream_batches(table),
        lambda names: _stream_batches(table.select(names)),
    )


def _stream_batches(data: Any) -> Iterator[pa.RecordBatch]:
    is_relation = type(data).__name__ == "DuckDBPyRelation"
    reader = relation_reader(data, BATCH_ROWS) if is_relation else pa.RecordBatchReader.from_stream(data)
    empty = True
    for batch in reader:
        yield batch
        empty = False
    if empty:
        yield no_rows(reader.schema)


def _polars_batches(frame: Any) -> Iterator[pa.RecordBatch]:
    from polars import CompatLevel

    for name, kind in frame.schema.items():
        _no_polars_objects(name, kind)
    # Slice by slice to types that each version of Arrow knows; Polars' own stream is of views.
    for part in frame.iter_slices(BATCH_ROWS) if frame.height else [frame]:
        yield from _stream_batches(part.to_arrow(compat_level=CompatLevel.oldest()))


def _is_polars_series(values: Any) -> bool:
    return type(values).__name__ == "Series" and type(values).__module__.startswith("polars.")


def _polars_series(name: str, series: Any) -> Any:
    from polars import CompatLevel

    _no_polars_objects(name, series.dtype)
    return series.to_arrow(compat_level=CompatLevel.oldest())


def _no_polars_objects(name: str, kind: Any) -> None:
    """Refuse Python objects in a Polars column: Polars hands on their addresses instead of their values.

    :raises DeepchecksSourceError: naming the column.
    """
    if str(kind) == "Object":
        raise DeepchecksSourceError(
            f"Column {name!r} holds Python objects (Polars' type Object); cast it to a type of its own"
        )


# -- pandas --------------------------------------------------------------------------------------------------


def _pandas_batches(frame: Any) -> Iterator[pa.RecordBatch]:
    names = unique_names(map(str, frame.columns), "The pandas frame")
    if not len(frame):
        # Without values pandas makes up types: an id would be a float.
        yield no_rows(pa.schema([(name, pa.null()) for name in names]))
        return
    columns = [frame.iloc[:, position] for position in range(len(names))]
    types = [
        arrow_type(column.to_numpy(), f"Column {name!r}") if column.dtype == object else None
        for name, column in zip(names, columns, strict=True)
    ]
    for start in range(0, len(frame), BATCH_ROWS):
        arrays = [
            _pandas_column(name, column.iloc[start : start + BATCH_ROWS], type_)
            for name, column, type_ in zip(names, columns, types, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(arrays, names=names)


def _pandas_series(name: str, series: Any) -> Any:
    where = f"Column {name!r}"
    type_ = arrow_type(series.to_numpy(), where) if series.dtype == object else None
    return _pandas_column(name, series, type_)


def _pandas_column(name: str, part: Any, type_: pa.DataType | None) -> Any:
    if type(part.dtype).__name__ == "SparseDtype":
        part = part.sparse.to_dense()
    if type_ is not None:
        return arrow_array(part.to_numpy(), type_, f"Column {name!r}")
    try:
        # Numpy's numbers as they are: pa.array(series) would make NaN null, and that is for the checks to
        # decide.
        is_plain = part.dtype.kind in "fiub" and _is_numpy(part)
        array = pa.array(_native(part.to_numpy()) if is_plain else part)
    except UnicodeEncodeError:  # a lone surrogate, which the checks name
        return arrow_array(part.to_numpy(dtype=object), pa.string(), f"Column {name!r}")
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DeepchecksSourceError(
            f"Column {name!r} of type {part.dtype} is not readable: {error}"
        ) from error
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _native(values: Any) -> Any:
    """Numpy's values in this machine's order of bytes, the only one that Arrow knows."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _is_numpy(series: Any) -> bool:
    return type(series.dtype).__module__.startswith("numpy")


# -- Python containers ---------------------------------------------------------------------------------------


def _whole_column(name: str, values: Any) -> Any:
    where = f"Column {name!r}"
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if hasattr(values, "dtype") and hasattr(values, "iloc"):
        return _pandas_series(name, values)
    no_sequence = not isinstance(values, Iterable) and not hasattr(values, "__arrow_c_stream__")
    if no_sequence or isinstance(values, Mapping | Set | str | bytes):
        hint = " (to_dict() gives columns with 'list', or give the frame itself)"
        raise DeepchecksUnusableSourceError(
            f"{where} is of type {type(values).__name__}, which is no sequence of values"
            + (hint if isinstance(values, Mapping) else "")
        )
    try:
        if hasattr(values, "__arrow_c_stream__"):
            return _polars_series(name, values) if _is_polars_series(values) else pa.chunked_array(values)
        if type(values).__name__ == "ndarray" and values.dtype != object and values.ndim == 1:
            return pa.array(_native(values))
        cells = list(values)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DeepchecksSourceError(f"{where} is not readable: {error}") from error
    return arrow_array(cells, arrow_type(cells, where), where)


def _dict(data: Mapping[Any, Any]) -> FrameSource:
    names = unique_names(map(str, data), "The dict of columns")
    columns = [_whole_column(name, values) for name, values in zip(names, data.values(), strict=True)]
    lengths = {name: len(column) for name, column in zip(names, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        raise DeepchecksSourceError(f"The dict's columns differ in length: {lengths}")
    return _table(pa.Table.from_arrays(columns, names=names), "dict of columns")


def _list(rows: Sequence[Any]) -> FrameSource:
    if rows and all(hasattr(item, "__arrow_c_stream__") or _is_frame(item, "pandas") for item in rows):
        rereadable = all(open_frame(item).rereadable for item in rows)
        return FrameSource("list of frames", rereadable, lambda: _mixed_batches(iter(rows)))
    for position, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise DeepchecksUnusableSourceError(
                f"Item {position} of the list is {_article(row)}, not a dict of column: value"
            )
    keys = list(dict.fromkeys(key for row in rows for key in row))
    names = unique_names(map(str, keys), "The list of dicts")
    return FrameSource("list of dicts", True, lambda: _row_batches(rows, keys, names))


def _row_batches(
    rows: Sequence[Mapping[Any, Any]], keys: Sequence[Any], names: list[str]
) -> Iterator[pa.RecordBatch]:
    # A type is found from all rows, one column at a time; a row without a key has no value there.
    types = [arrow_type([row.get(key) for row in rows], f"Column {key!r}") for key in keys]
    for start in range(0, len(rows), BATCH_ROWS):
        part = rows[start : start + BATCH_ROWS]
        arrays = [
            arrow_array([row.get(key) for row in part], type_, f"Column {key!r}")
            for key, type_ in zip(keys, types, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(arrays, names=names)


def _mixed_batches(items: Iterator[Any]) -> Iterator[pa.RecordBatch]:
    meanings, names = Meanings(), None
    try:
        for number, item in enumerate(items):
            if isinstance(item, Mapping):
                raise DeepchecksUnusableSourceError(
                    "The iterator gives dicts one by one: give a list of dicts, or frames"
                )
            for batch in open_frame(item).batches():
                names = names or batch.schema.names
                if set(batch.schema.names) != set(names):
                    differing = ", ".join(sorted(set(batch.schema.names) ^ set(names)))
                    raise DeepchecksSourceError(
                        f"Batch {number} has other columns than the first one: {differing}"
                    )
                meanings.check(batch.schema, f"in batch {number}", "give all batches one type")
                yield batch.select(names)
    finally:
        if close := getattr(items, "close", None):
            close()
