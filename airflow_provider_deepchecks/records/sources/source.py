# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows from anywhere as Arrow record batches of bounded size."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_deepchecks.records.sources.files import open_files
from airflow_provider_deepchecks.records.sources.frames import open_frame
from airflow_provider_deepchecks.records.sources.tables import open_query, open_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

__all__ = ["Source", "is_path", "open_files", "open_frame", "open_query", "open_source", "open_table"]


class Source(Protocol):
    """Rows to send, read in bounded memory."""

    @property
    def description(self) -> str:
        """What is read, for the log and for errors. Holds no secrets and no parameters."""

    @property
    def rereadable(self) -> bool:
        """Whether :meth:`batches` may be called again and gives the same rows in the same order."""

    @property
    def ordered(self) -> bool:
        """Whether the rows come sorted by time and id. Asking may take one short query."""

    @property
    def untyped(self) -> bool:
        """Whether all values are text because the format knows no types (CSV)."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read the rows.

        All batches have the same columns. Their types may differ where their meaning does not: whole numbers
        and fractions, nulls and anything. At least one batch comes, an empty one if need be, so that columns
        are known. What is opened is closed when the iterator ends, fails or is closed.

        :raises DeepchecksSourceError: the rows cannot be read.
        :raises DeepchecksColumnsError: two columns have the same name.
        """

    def in_order(self, time: str, sample_id: str, *, naive_is_utc: bool) -> bool:
        """Whether the rows are seen to come sorted by these two columns, where a look costs next to nothing.

        :param naive_is_utc: whether times without a zone are UTC.
        """

    def fingerprint(self) -> str:
        """Tell this source from another, or from a changed one, when a retry goes on."""


def open_source(
    data: Any,
    *,
    filesystem: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    format: str | None = None,
) -> Source:
    """Open what an operator's ``data`` holds: a path, several paths, or the rows themselves.

    :param data: a path, URI, glob or ``ObjectStoragePath``, a list of them, or anything that
        :func:`~airflow_provider_deepchecks.records.sources.frames.open_frame` takes.
    :param filesystem: as in :func:`~airflow_provider_deepchecks.records.sources.files.open_files`, like the
        others.
    """
    if is_path(data):
        data = [data]
    if isinstance(data, (list, tuple)) and data and all(map(is_path, data)):
        return open_files(data, filesystem=filesystem, storage_options=storage_options, format=format)
    return open_frame(data)


def is_path(value: Any) -> bool:
    """Say whether a value names a file. An Airflow ``ObjectStoragePath`` is told by what its class has: a
    frame can have columns of these names.
    """
    return isinstance(value, (str, os.PathLike)) or (
        hasattr(type(value), "fs") and hasattr(type(value), "path")
    )
