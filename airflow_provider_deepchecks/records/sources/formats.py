# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""File formats: the schema of one file, and its rows in bounded memory."""

from __future__ import annotations

import csv
import io
import os
import re
from codecs import BOM_UTF8
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError, DeepchecksUnusableSourceError
from airflow_provider_deepchecks.records.sources.csv_blocks import (
    BLOCK_BYTES,
    ROW_BYTES,
    CsvBlocks,
    bounded_rows,
)
from airflow_provider_deepchecks.records.sources.csv_quotes import QuoteGuard
from airflow_provider_deepchecks.records.sources.ipc_ends import MAGIC, WatchedStream, is_footer, is_one_file
from airflow_provider_deepchecks.records.sources.json_numbers import LongIntegers

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes read at a time from each column of a Parquet file, so that the size of its row groups does not
#: matter.
PARQUET_BUFFER_BYTES = 2**18
#: The same for a remote file, where each reading is a request.
REMOTE_BUFFER_BYTES = 2**20
#: Most rows of Parquet in a batch, and its bytes to aim at: texts can be long, and columns many.
PARQUET_ROWS, PARQUET_BYTES = 16_384, 16 * 2**20

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}

_INDEX_COLUMN = re.compile(r"__index_level_\d+__")
_FIRST_NULL = re.compile(rb"\A(\s*)null")


@dataclass(frozen=True)
class File:
    """One file of an ``fsspec`` filesystem.

    :param path: as the filesystem wants it; a URL with its query, in which there can be a signature.
    :param name: as people know it: without that. It tells format and compression.
    """

    filesystem: Any
    path: str
    name: str

    @contextmanager
    def open(self, *, random_access: bool = False) -> Iterator[Any]:
        """Open the bytes, without their compression where the format is read from the start to the end.

        :raises DeepchecksSourceError: afterwards, when a compressed file turns out to be empty, or when a
            local one was written to meanwhile.
        """
        # A remote file read in order profits from reading ahead; Parquet's jumps would only fetch the same
        # twice.
        options = (
            {}
            if self.local
            else {"block_size": BLOCK_BYTES, "cache_type": "none" if random_access else "readahead"}
        )
        with self.filesystem.open(self.path, "rb", **options) as raw:
            before = self._written(raw)
            stream: Any = pa.PythonFile(raw, mode="r")
            codec: Any = self.compression
            if codec and not random_access:
                stream = pa.CompressedInputStream(stream, codec)
            with stream:
                yield stream
                if codec and not raw.tell():
                    # Arrow takes it for no text. Each compression has a head, even then.
                    raise DeepchecksSourceError(
                        f"{self.name} has 0 bytes, so it is no {codec} file: is it whole?"
                    )
                if self._written(raw) != before:
                    # Text that is cut short, or whose last line is half there, looks whole.
                    raise DeepchecksSourceError(
                        f"{self.name} was written to while it was read: write files aside and move them to "
                        "their place when they are whole"
                    )

    def _written(self, raw: Any) -> tuple[int, int] | None:
        """Size and time of the last change of an open file; storages of objects replace them as a whole."""
        if not self.local:
            return None
        found = os.fstat(raw.fileno())
        return found.st_size, found.st_mtime_ns

    @property
    def local(self) -> bool:
        """Whether the file is on a disk of this machine."""
        protocol = self.filesystem.protocol
        return "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    @property
    def compression(self) -> str | None:
        """Compression by suffix."""
        return next(
            (codec for suffix, codec in COMPRESSIONS.items() if self.name.lower().endswith(suffix)), None
        )


class Format(Protocol):
    """How files of one kind are read."""

    @property
    def untyped(self) -> bool:
        """Whether all values are text."""

    def schema(self, file: File) -> pa.Schema:
        """Find a file's columns and types."""

    def batches(self, file: File, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Read a file's rows with the schema found before."""


class Parquet:
    """Parquet, page by page. Index columns that pandas wrote without a name are left out, as a frame's index
    is."""

    untyped = False

    def schema(self, file: File) -> pa.Schema:
        """From the footer."""
        with _parquet(file) as parquet:
            return pa.schema(
                [field for field in parquet.schema_arrow if not _INDEX_COLUMN.fullmatch(field.name)]
            )

    def batches(self, file: File, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Batches of bounded size, however large the row groups are."""
        with _parquet(file) as parquet:
            columns = schema.names if len(schema) < len(parquet.schema_arrow) else None
            rows = _batch_rows(parquet.metadata)
            yield from parquet.iter_batches(batch_size=rows, columns=columns, use_threads=False)

    def select(self, file: File, names: list[str]) -> Iterator[pa.RecordBatch]:
        """Some of the columns alone."""
        with _parquet(file) as parquet:
            for batch in parquet.iter_batches(batch_size=PARQUET_ROWS, columns=names, use_threads=False):
                yield batch.select(names)


def _batch_rows(footer: Any) -> int:
    """Rows of a batch, by the size of those in the row group that has the largest."""
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    largest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=0)
    return max(1, min(PARQUET_ROWS, int(PARQUET_BYTES / max(1, largest))))


@contextmanager
def _parquet(file: File) -> Iterator[Any]:
    from pyarrow import parquet

    if file.compression:
        raise DeepchecksSourceError(
            f"{file.name}: Parquet files compress inside; decompress the file as a whole"
        )
    with (
        file.open(random_access=True) as stream,
        parquet.ParquetFile(
            stream,
            buffer_size=PARQUET_BUFFER_BYTES if file.local else REMOTE_BUFFER_BYTES,
            pre_buffer=False,
            # As nanoseconds in 64 bits, times after 2262 come out centuries ago.
            coerce_int96_timestamp_unit="us",
        ) as opened,
    ):
        yield opened


class Csv:
    """Text with a header line. All columns are text, so that an id ``007`` stays one and no type flips later
    on.

    An empty field is a missing value, a quoted empty field (``""``) is an empty text.
    """

    untyped = True

    def __init__(self, delimiter: str) -> None:
        self.delimiter = delimiter

    def schema(self, file: File) -> pa.Schema:
        """From the header line, the first that is not empty."""
        with file.open() as stream:
            head = io.TextIOWrapper(io.BytesIO(stream.read(BLOCK_BYTES)), "utf-8-sig", newline="")
            try:
                names = next(filter(None, csv.reader(head, delimiter=self.delimiter)), [])
            except UnicodeDecodeError as error:
                raise DeepchecksSourceError(
                    f"{file.name} is not UTF-8 text ({error}); write it as UTF-8"
                ) from error
        other = next((sign for sign in ",;\t|" if len(names) == 1 and sign in names[0]), None)
        if other is not None:
            raise DeepchecksUnusableSourceError(
                f"{file.name}: the header line is one column, {names[0][:100]!r}, and seems to be separated "
                f"by {other!r}; write it with commas as .csv, or with tabs as .tsv"
            )
        return pa.schema([(name, pa.string()) for name in names])

    def batches(self, file: File, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Block by block."""
        from pyarrow import csv as arrow_csv

        with (
            file.open() as stream,
            bounded_rows(file.name, "; or is a quote in it one too many?"),
            _utf8_text(file, schema.names),
        ):
            blocks: Any = CsvBlocks(QuoteGuard(stream, file.name, self.delimiter))
            source: Any = pa.PythonFile(blocks, mode="r")
            try:
                reader = arrow_csv.open_csv(source, **self._options(schema))
            except pa.ArrowInvalid as error:
                if "Empty CSV file" in str(error):
                    return
                raise
            with reader:
                if reader.schema.names != schema.names:
                    raise DeepchecksSourceError(f"{file.name}: the header line is not readable as CSV")
                yield from reader

    def _options(self, schema: pa.Schema) -> dict[str, Any]:
        from pyarrow import csv

        types = {field.name: field.type for field in schema}
        return {
            "read_options": csv.ReadOptions(use_threads=False, block_size=ROW_BYTES),
            "parse_options": csv.ParseOptions(
                delimiter=self.delimiter,
                newlines_in_values=True,
                # With one column an empty line is a row, with more it is none.
                ignore_empty_lines=len(schema) > 1,
            ),
            "convert_options": csv.ConvertOptions(
                column_types=types,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        }


@contextmanager
def _utf8_text(file: File, names: list[str]) -> Iterator[None]:
    """Name row and column of which Arrow says ``In CSV column #1: Row #3: ... invalid UTF8 data``."""
    try:
        yield
    except pa.ArrowInvalid as error:
        found = re.match(r"In CSV column #(\d+): Row #(\d+): .*invalid UTF8", str(error))
        if found is None:
            raise
        raise DeepchecksSourceError(
            f"{file.name} is not UTF-8 text (column {names[int(found[1])]!r} in row {int(found[2]):,}, the "
            "header line is row 1); write it as UTF-8"
        ) from error


class JsonLines:
    """One JSON object a line. Types are JSON's: text stays text, even where it looks like a time.

    Files are read twice: a column's type is known only when its last value has been seen.
    """

    untyped = False

    def schema(self, file: File) -> pa.Schema:
        """From all values."""
        found: pa.Schema | None = None
        row, numbers = 1, LongIntegers()
        with file.open() as stream:
            for block in _line_blocks(stream):
                if found is None and block.lstrip()[:1] == b"[":
                    raise DeepchecksUnusableSourceError(
                        f"{file.name} is one JSON array; write one object a line (JSON lines)"
                    )
                with _rows_from(file, row):
                    table = _json_table(block)
                part = pa.schema([(field.name, _text_for_times(field.type)) for field in table.schema])
                found = part if found is None else self._unified(file, found, part, row)
                numbers.look(block, table)
                row += table.num_rows
        schema = pa.schema([]) if found is None else numbers.exact(found)
        return pa.schema([(field.name, _typed_lists(field.type)) for field in schema])

    def batches(self, file: File, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Block by block, with the types of the whole file."""
        row = 1
        with file.open() as stream:
            for block in _line_blocks(stream):
                with _rows_from(file, row):
                    table = _json_table(block, schema)
                yield from table.to_batches()
                row += table.num_rows

    def _unified(self, file: File, one: pa.Schema, other: pa.Schema, row: int) -> pa.Schema:
        try:
            return pa.unify_schemas([one, other], promote_options="permissive")
        except pa.ArrowException as error:
            raise DeepchecksSourceError(
                f"{file.name} changes a column's type in the rows from {row} on: {error}"
            ) from None


@contextmanager
def _rows_from(file: File, row: int) -> Iterator[None]:
    """Name the row of which Arrow says ``in row 3``, counted from its block's first.

    :param row: number of the block's first row.
    """
    try:
        yield
    except pa.ArrowInvalid as error:
        told = str(error)
        if found := re.search(r" in row (\d+)$", told):
            where, told = f"row {row + int(found[1])}", told[: found.start()]
        else:
            where = f"rows from {row} on"
        if "decimal" in told:
            told += " (beside whole numbers of more digits than a double holds; write them as text)"
        raise DeepchecksSourceError(f"{file.name}, {where}: {told}") from error


def _json_table(block: bytes, schema: pa.Schema | None = None) -> pa.Table:
    from pyarrow import json

    # Arrow takes null for an object without keys, but ends the process where the first line is one.
    source: Any = pa.BufferReader(_FIRST_NULL.sub(rb"\1{}  ", block))
    # The block is parsed as one, or a type could change within it.
    read = json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    if schema is None:
        return json.read_json(source, read)
    parse = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    return json.read_json(source, read, parse)


def _text_for_times(type_: pa.DataType) -> pa.DataType:
    # Arrow takes text that looks like a time for one and loses its offset; the checks parse times with more
    # care.
    if pa.types.is_timestamp(type_):
        return pa.string()
    if pa.types.is_list(type_):
        return pa.list_(_text_for_times(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([(field.name, _text_for_times(field.type)) for field in type_])
    return type_


def _typed_lists(type_: pa.DataType) -> pa.DataType:
    # Arrow counts the elements of lists wrong where all of them are null, unless they have a type.
    if pa.types.is_list(type_):
        inner = type_.value_type
        return pa.list_(pa.float64() if pa.types.is_null(inner) else _typed_lists(inner))
    if pa.types.is_struct(type_):
        return pa.struct([(field.name, _typed_lists(field.type)) for field in type_])
    return type_


def _line_blocks(stream: Any) -> Iterator[bytes]:
    """Whole lines, about a block of bytes at a time."""
    rest = b""
    while data := stream.read(BLOCK_BYTES):
        end = data.rfind(b"\n") + 1
        if end == 0:
            rest += data
            if len(rest) > ROW_BYTES:
                raise DeepchecksSourceError(f"A line of more than {ROW_BYTES:,} bytes; is this JSON lines?")
            continue
        block, rest = (rest + data[:end]).removeprefix(BOM_UTF8), data[end:]
        if block.strip():
            yield block
    rest = rest.removeprefix(BOM_UTF8)
    if rest.strip():
        yield rest


class ArrowIpc:
    """Arrow IPC, files (Feather) and streams alike. Memory is bounded by the batches as they were written."""

    untyped = False

    def schema(self, file: File) -> pa.Schema:
        """From the footer, which a file cut short does not have, or from the head of a stream."""
        opened = _ipc_file if _has_footer(file) else _ipc_stream
        with opened(file) as (reader, _):
            schema: pa.Schema = reader.schema
            return schema

    def batches(self, file: File, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Batches as they were written.

        :raises DeepchecksSourceError: the file does not end where its rows do.
        """
        if _has_footer(file):
            with _ipc_file(file) as (reader, stream):
                _check_end(file, is_one_file(stream))
                for number in range(reader.num_record_batches):
                    yield reader.get_batch(number)
            return
        with _ipc_stream(file) as (reader, stream):
            yield from reader
            if stream.ended:
                raise DeepchecksSourceError(
                    f"{file.name} has no end mark: it is cut short, or was not closed by its writer"
                )
            _check_end(file, is_footer(stream) if _is_ipc_file(file) else not stream.read(1))


def _check_end(file: File, is_end: bool) -> None:
    if not is_end:
        raise DeepchecksSourceError(
            f"{file.name} goes on after its end; files that were put together are to be read one by one"
        )


def _is_ipc_file(file: File) -> bool:
    with file.open() as stream:
        return bool(stream.read(len(MAGIC)) == MAGIC)


def _has_footer(file: File) -> bool:
    """Whether a file can be read by its footer, which takes jumps."""
    return not file.compression and _is_ipc_file(file)


@contextmanager
def _ipc_file(file: File) -> Iterator[tuple[Any, Any]]:
    with file.open(random_access=True) as stream, pa.ipc.open_file(stream) as reader:
        yield reader, stream


@contextmanager
def _ipc_stream(file: File) -> Iterator[tuple[Any, WatchedStream]]:
    is_file = _is_ipc_file(file)
    with file.open() as stream:
        if is_file:
            # A file is a stream between the magic word, padded to 8 bytes, and its footer.
            stream.read(8)
        watched = WatchedStream(stream)
        source: Any = watched
        with pa.ipc.open_stream(pa.PythonFile(source, mode="r")) as reader:
            yield reader, watched


FORMATS: dict[str, Format] = {
    "parquet": Parquet(),
    "csv": Csv(","),
    "tsv": Csv("\t"),
    "jsonl": JsonLines(),
    "arrow": ArrowIpc(),
}

SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}


def format_of(name: str) -> Format:
    """Tell the format by the name's suffix.

    :raises DeepchecksSourceError: naming the suffixes that are known.
    """
    plain = name.lower()
    for suffix in COMPRESSIONS:
        plain = plain.removesuffix(suffix)
    for suffix, format_ in SUFFIXES.items():
        if plain.endswith(suffix):
            return FORMATS[format_]
    raise DeepchecksUnusableSourceError(
        f"{name}: the format is not told by the name; known are {', '.join(SUFFIXES)}"
    )
