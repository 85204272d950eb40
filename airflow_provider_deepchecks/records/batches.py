# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What all sources do with their batches: bound them, give them plain types, and tell errors apart."""

from __future__ import annotations

import hashlib
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_deepchecks.exceptions import (
    DeepchecksColumnsError,
    DeepchecksError,
    DeepchecksSourceError,
)
from airflow_provider_deepchecks.records.casts.numbers import is_list, is_number
from airflow_provider_deepchecks.records.casts.objects import ANY_DECIMAL, arrow_array, arrow_type, first_line
from airflow_provider_deepchecks.records.casts.texts import is_text, is_uuid

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

#: Bounds of one batch, whatever the source hands out.
BATCH_ROWS: Final = 65_536
BATCH_BYTES: Final = 16 * 2**20
#: Arrow's allocator (mimalloc) keeps what was freed; giving it back now and then keeps the process small.
#: Measured with 2,000,000 rows of one Parquet row group: 171 MiB at most instead of 197.
RELEASE_EVERY: Final = 8


def fingerprint(*parts: object) -> str:
    """Hash what identifies a source, so that neither queries nor parameters show."""
    return hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()[:32]


def unique_names(names: Iterable[str], description: str) -> list[str]:
    """Check that no name comes twice, since a row is an object with one value a name.

    :param description: who has the columns, for the error.
    :raises DeepchecksColumnsError: naming the names that do.
    """
    found = list(names)
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise DeepchecksColumnsError(
            f"{description} has more than one column named {', '.join(map(repr, twice))}; rename all but one"
        )
    return found


def no_rows(schema: pa.Schema) -> pa.RecordBatch:
    """Make the empty batch that tells the columns of a source without rows."""
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def relation_reader(relation: Any, rows: int) -> Any:
    """Stream a DuckDB relation: unlike its ``__arrow_c_stream__`` this lets the size of a batch be told.

    :param rows: rows of a batch.
    """
    fetch = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
    return fetch(rows)


def guarded(batches: Iterable[pa.RecordBatch], what: str) -> Generator[pa.RecordBatch]:
    """Turn whatever goes wrong while reading into one kind of error.

    :param what: what was tried, for the message: ``"Reading rows.csv"``.
    :raises DeepchecksSourceError: with the first line of the reason.
    """
    steps = iter(batches)
    try:
        while True:
            try:
                batch = next(steps, None)
            except DeepchecksError:
                raise
            except Exception as error:
                # Of a key that is not there the message is the key alone.
                told = repr(error) if isinstance(error, KeyError) else first_line(error)
                raise DeepchecksSourceError(f"{what} failed: {told}") from error
            if batch is None:
                return
            yield batch
    finally:
        close_steps(steps)


def bounded(batches: Iterable[pa.RecordBatch], description: str) -> Generator[pa.RecordBatch]:
    """Cut batches to at most :data:`BATCH_ROWS` rows and about :data:`BATCH_BYTES` bytes, without copying.

    Types that few functions of Arrow know become plain ones with the same meaning: views, run lengths,
    extension types.

    :param description: who has the columns, for the error.
    :raises DeepchecksColumnsError: two columns have the same name.
    """
    steps = iter(batches)
    try:
        for number, batch in enumerate(steps):
            if number == 0:
                unique_names(batch.schema.names, description)
            elif number % RELEASE_EVERY == 0:
                pa.default_memory_pool().release_unused()
            rows = min(BATCH_ROWS, max(1, batch.num_rows * BATCH_BYTES // max(1, _size(batch))))
            for start in range(0, max(1, batch.num_rows), rows):
                yield plain(batch.slice(start, rows))
    finally:
        close_steps(steps)


def _size(batch: pa.RecordBatch) -> int:
    try:
        return int(batch.nbytes)
    except pa.ArrowTypeError:  # old Arrows cannot tell the bytes of a view
        return int(batch.get_total_buffer_size())


class Meanings:
    """What the columns of a source mean, which may not change from one batch to the next.

    Types may: no value is converted to the type of another batch, because the checks take each batch as it
    is. Numbers stay numbers, though, text stays text, and times stay times.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, pa.DataType] = {}
        self._seen: pa.Schema | None = None

    def check(self, schema: pa.Schema, place: str, remedy: str) -> None:
        """Compare a batch, or all of a file, with those before.

        :param schema: its columns.
        :param place: where they are, for the error: ``"in batch 2"``.
        :param remedy: what to do about it, for the error.
        :raises DeepchecksSourceError: naming the column and both types.
        """
        if self._seen is not None and schema.equals(self._seen):
            return
        self._seen = schema
        for field in schema:
            known = self._kinds.get(field.name, pa.null())
            if not same_meaning(known, field.type):
                raise DeepchecksSourceError(
                    f"Column {field.name!r} is {field.type} {place} and {known} before; {remedy}"
                )
            if pa.types.is_null(known):
                self._kinds[field.name] = field.type


def same_meaning(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether values of two types can stand in one column: both numbers, both text, both times. Nulls can
    stand in any.
    """
    one, other = _of_values(one), _of_values(other)
    if one == other or pa.types.is_null(one) or pa.types.is_null(other):
        return True
    if is_list(one) and is_list(other):
        return same_meaning(one.value_type, other.value_type)
    return any(is_kind(one) and is_kind(other) for is_kind in (is_number, _is_text, _is_time, _is_bytes))


def _of_values(kind: Any) -> Any:
    while pa.types.is_dictionary(kind) or _is(kind, "run_end_encoded"):
        kind = kind.value_type
    return kind


def _is_text(kind: pa.DataType) -> bool:
    return is_text(kind) or is_uuid(kind) or getattr(kind, "extension_name", None) == "arrow.json"


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return bool(binary or pa.types.is_fixed_size_binary(kind))


def close_steps(steps: object) -> None:
    """Close an iterator that can be: generators hold files and cursors open, Arrow's readers do not."""
    if close := getattr(steps, "close", None):
        close()


# -- plain types -----------------------------------------------------------------------------------------


def plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Give the columns of a batch plain types, see :func:`bounded`.

    :raises DeepchecksSourceError: naming a column with a value that its plain type cannot hold.
    """
    columns, fields, changed = [], [], False
    for column, field in zip(batch.columns, batch.schema, strict=True):
        try:
            new = _plain_column(column, field)
        except (pa.ArrowException, ArithmeticError, ValueError) as error:
            raise DeepchecksSourceError(
                f"Column {field.name!r} of type {field.type} is not readable: {first_line(error)}"
            ) from error
        changed = changed or new is not column
        columns.append(new)
        # Metadata describes the type: a new one goes without.
        fields.append(field if new is column else pa.field(field.name, new.type))
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields)) if changed else batch


def extension_of(field: Any) -> str | None:
    """The name of a column's extension type; pyarrow shows types it does not know as what they are stored as,
    with a note.
    """
    noted: str = (field.metadata or {}).get(b"ARROW:extension:name", b"").decode()
    return getattr(field.type, "extension_name", None) or noted or None


def _plain_column(column: Any, field: Any) -> Any:
    kind = column.type
    if _is_numeric_of_adbc(field):
        return _decimals(getattr(column, "storage", column), field.name)
    if pa.types.is_dictionary(kind) and isinstance(kind.value_type, pa.BaseExtensionType):
        values = _plain_column(column.dictionary, pa.field(field.name, kind.value_type))
        return values.take(column.indices)
    if (extension := extension_of(field)) is not None:
        # An extension says what its storage means. Of one that is not known here, the checks tell.
        meant = _MEANT.get(extension)
        return column if meant is None else meant(getattr(column, "storage", column))
    if _is(kind, "string_view"):
        return column.cast(pa.large_string())
    if _is(kind, "binary_view"):
        return column.cast(pa.large_binary())
    if pa.types.is_dictionary(kind) and _is(kind.value_type, "string_view"):
        return pa.DictionaryArray.from_arrays(column.indices, column.dictionary.cast(pa.large_string()))
    if _is(kind, "run_end_encoded"):
        return pc.call_function("run_end_decode", [column])
    if _is(kind, "list_view") or _is(kind, "large_list_view"):
        # Arrow's own cast loses an offset where a value is null (pyarrow 26).
        return pa.array(column.to_pylist(), pa.list_(kind.value_type))
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    return column


def _uuids(storage: Any) -> Any:
    return pa.array([None if raw is None else str(uuid.UUID(bytes=raw)) for raw in storage.to_pylist()])


#: Extension types whose meaning is known, and how to get from their storage to plain values.
_MEANT: Final[dict[str, Callable[[Any], Any]]] = {
    "arrow.uuid": _uuids,
    "arrow.bool8": lambda storage: storage.cast(pa.bool_()),
    "arrow.json": lambda storage: storage,
}


KNOWN_EXTENSIONS: Final = frozenset(_MEANT)


def _decimals(texts: Any, name: str) -> Any:
    try:
        return texts.cast(ANY_DECIMAL)
    except pa.ArrowInvalid:  # NaN and infinity, or digits beyond those of Arrow's decimals
        values = [None if text is None else Decimal(text) for text in texts.to_pylist()]
        where = f"Column {name!r}"
        return arrow_array(values, arrow_type(values, where), where)


def _is(kind: pa.DataType, family: str) -> bool:
    # Some of these checks came after the oldest pyarrow supported.
    check = getattr(pa.types, f"is_{family}", None)
    return check is not None and bool(check(kind))


def _is_numeric_of_adbc(field: Any) -> bool:
    # ADBC hands out PostgreSQL's NUMERIC as text, with a note that says what it was.
    noted = (field.metadata or {}).get(b"ADBC:postgresql:typname", b"").decode()
    return "numeric" in (noted, getattr(field.type, "type_name", ""))
