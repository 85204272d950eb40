# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows collected on disk as Parquet, and files that are there as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError, DeepchecksSourceError
from airflow_provider_deepchecks.records.reasons import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: Rows and bytes that are collected for one row group, so that single rows do not make a group each.
GROUP_ROWS, GROUP_BYTES = 65_536, 16 * 2**20

#: Errors that are the same at the next try: a wrong path, rows that no file can hold. Others may pass: a full
#: disk, a storage that is silent.
_WRONG_PLACE = (
    PermissionError,
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    ValueError,
    ImportError,
    pa.ArrowException,
)


@contextlib.contextmanager
def temporary_files(what: str, directory: str | Path | None = None) -> Iterator[None]:
    """Say where room is missing when temporary files cannot be written.

    :param what: what is written, for the error.
    :param directory: where they are, None for the system's directory for temporary files.
    :raises DeepchecksSourceError: in place of the operating system's error.
    """
    try:
        yield
    except OSError as error:
        raise DeepchecksSourceError(
            f"{what} could not be written to {directory or tempfile.gettempdir()}: {error}. "
            "Make room there, or name another directory with TMPDIR"
        ) from error


def _temporary_file() -> Path:
    handle, name = tempfile.mkstemp(prefix="deepchecks-", suffix=".parquet")
    os.close(handle)
    return Path(name)


class Spool:
    """Rows collected in a local Parquet file; a context manager that removes it.

    :param schema: of the rows, None for that of the first batch.
    :param new_file: names the file once there is something to write.
    """

    def __init__(
        self, schema: pa.Schema | None = None, new_file: Callable[[], Path] = _temporary_file
    ) -> None:
        self.rows = 0
        #: The file, once there is one.
        self.path: Path | None = None
        self._given_schema = self._schema = schema
        self._new_file = new_file
        self._writer: pq.ParquetWriter | None = None
        self._collected: list[pa.RecordBatch] = []
        self._collected_rows = self._collected_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def add(self, batch: pa.RecordBatch) -> None:
        """Append rows. None can be appended once the file was finished or read."""
        self._schema = self._schema or batch.schema
        self._collected.append(batch)
        self._collected_rows += batch.num_rows
        self._collected_bytes += batch.nbytes
        self.rows += batch.num_rows
        if self._collected_rows >= GROUP_ROWS or self._collected_bytes >= GROUP_BYTES:
            self._flush()

    def finish(self) -> Path:
        """Write what is left.

        :return: the file; one without rows needs a schema.
        """
        if self._collected or self.path is None:
            self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        assert self.path is not None
        return self.path

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, in bounded pieces."""
        if self.rows:
            with open(self.finish(), "rb") as file:
                yield from pq.ParquetFile(file).iter_batches(GROUP_ROWS)

    def discard(self) -> None:
        """Forget all rows, and remove the file."""
        if self._writer is not None:
            self._writer.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self._writer, self.path, self._schema = None, None, self._given_schema
        self._collected, self._collected_rows, self._collected_bytes, self.rows = [], 0, 0, 0

    def _flush(self) -> None:
        assert self._schema is not None, "a file without rows needs a schema"
        if self._writer is None:
            assert self.path is None, "rows come after the file was finished"
            self.path = self._new_file()
            self._writer = pq.ParquetWriter(self.path, self._schema, compression="zstd")
        if self._collected:
            table = pa.Table.from_batches(self._collected, self._schema)
            self._writer.write_table(table, row_group_size=GROUP_ROWS)
        self._collected, self._collected_rows, self._collected_bytes = [], 0, 0


class WholeFile:
    """A Parquet file that is written aside and published as a whole: locally by a rename, on object storage
    by one upload. A file that was there is replaced; without rows nothing is written.

    :param path: local path, URL of an fsspec filesystem (``s3://...``), or an ObjectStoragePath.
    :param what: what it is, for errors.
    :param setting: the setting that names the path, for errors.
    :param storage_options: options of the filesystem, for URLs.
    """

    def __init__(
        self,
        path: Any,
        *,
        what: str,
        setting: str,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.shown = str(path)
        self._path = path
        self._what = what
        self._setting = setting
        self._storage_options = storage_options
        self._spool = Spool(new_file=self._aside)

    @property
    def rows(self) -> int:
        """Rows in it so far."""
        return self._spool.rows

    def prepare(self) -> None:
        """Find the filesystem, and make the folder of a local file.

        :raises DeepchecksConfigError: no such file can be made.
        """
        with self._explained():
            filesystem, path = place(self._path, self._storage_options)
            if isinstance(filesystem, LocalFileSystem):
                folder = Path(path).parent
                folder.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=folder).close()  # tells whether files can be made there
                if Path(path).is_dir():
                    raise IsADirectoryError(f"{path} is a directory")

    def add(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        with self._explained():
            self._spool.add(batch)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows so far, in bounded pieces. None can be appended afterwards."""
        with self._explained():
            yield from self._spool.batches()

    def publish(self) -> bool:
        """Make the file appear; False when there is nothing in it.

        :raises DeepchecksConfigError: it cannot be written; retryable when the path is not to blame.
        """
        if not self.rows:
            return False
        try:
            with self._explained():
                aside = self._spool.finish()
                filesystem, path = place(self._path, self._storage_options)
                if isinstance(filesystem, LocalFileSystem):
                    os.replace(aside, path)
                else:
                    filesystem.put_file(str(aside), path)
        finally:
            self.discard()
        return True

    def metadata_there(self) -> dict[str, str]:
        """Metadata of the Parquet file that is there now; none where there is none that can be read."""
        try:
            filesystem, path = place(self._path, self._storage_options)
            with filesystem.open(path, "rb") as file:
                found = pq.read_schema(file).metadata or {}
        except Exception:  # each storage has errors of its own
            return {}
        return {key.decode(): value.decode("utf-8", "replace") for key, value in found.items()}

    def discard(self) -> None:
        """Remove what was written aside."""
        self._spool.discard()

    def _aside(self) -> Path:
        filesystem, path = place(self._path, self._storage_options)
        if not isinstance(filesystem, LocalFileSystem):
            return _temporary_file()
        target = Path(path)  # in the same folder, so that it can be renamed
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each storage has errors of its own
            rows = f" with {counted(self.rows)}" if self.rows else ""
            told = DeepchecksConfigError(
                f"The {self._what} {self.shown}{rows} cannot be written: {error}. Check {self._setting}."
            )
            told.retryable = not isinstance(error, _WRONG_PLACE)
            raise told from error


def place(path: Any, storage_options: Mapping[str, Any] | None = None) -> tuple[Any, str]:
    """The filesystem of a path, URL or ObjectStoragePath, and the path there."""
    if hasattr(path, "fs") and hasattr(path, "path"):  # an ObjectStoragePath
        return path.fs, str(path.path)
    found: tuple[Any, str] = fsspec.core.url_to_fs(os.fspath(path), **(storage_options or {}))
    return found


def copy_whole(source: Path, path: Any, storage_options: Mapping[str, Any] | None = None) -> None:
    """Copy a local file to a path, URL or ObjectStoragePath; it is there whole or not at all."""
    filesystem, target = place(path, storage_options)
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.put_file(str(source), target)
        return
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    half = Path(f"{target}.{uuid.uuid4().hex}.half")
    try:
        shutil.copyfile(source, half)
        os.replace(half, target)
    finally:
        half.unlink(missing_ok=True)
