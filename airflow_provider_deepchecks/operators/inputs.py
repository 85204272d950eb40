# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""From an operator's arguments to the source of its rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException

from airflow_provider_deepchecks.exceptions import (
    DeepchecksConfigError,
    DeepchecksError,
    DeepchecksMissingConnectionError,
    DeepchecksSourceError,
)
from airflow_provider_deepchecks.storage import storage_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_deepchecks.records.sources.source import Source


class Rows:
    """Rows held in memory, hidden from templating, logs and the metadata database.

    Airflow stores the text of every template field; of this one that is what the rows are, not what they
    hold.
    """

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        kind = f"{type(self.value).__module__.partition('.')[0]}.{type(self.value).__name__}".removeprefix(
            "builtins."
        )
        if _is_called(self.value):
            return f"<{kind}: {_name(self.value)}>"
        shape = getattr(self.value, "shape", None)
        if isinstance(shape, tuple) and len(shape) == 2:
            return f"<{kind}: {shape[0]} rows, {shape[1]} columns>"
        if isinstance(self.value, list):
            return f"<{kind}: {len(self.value)} rows>"
        return f"<{kind}>"

    __str__ = __repr__


def hide_rows(data: object) -> object:
    """Wrap what holds rows; leave alone what Airflow has to resolve or render: XComArgs, paths, templates.

    :param data: value of the operator's ``data`` argument, at parse time or rendered.
    """
    if data is None or isinstance(data, Rows) or _is_for_airflow(data):
        return data
    if isinstance(data, (list, tuple)) and data and all(map(_is_for_airflow, data)):
        return data
    if isinstance(data, dict) and data and all(map(_is_reference, data.values())):
        return data
    return Rows(data)


def _is_for_airflow(value: object) -> bool:
    """Whether Airflow has to resolve or render a value: a reference to a task's output, a path, a template.

    An ObjectStoragePath is told by what its class has; a frame can have columns of these names.
    """
    kind = type(value)
    is_storage_path = hasattr(kind, "fs") and hasattr(kind, "path")
    return isinstance(value, (str, os.PathLike)) or is_storage_path or _is_reference(value)


def _is_reference(value: object) -> bool:
    """Whether a value stands for the output of a task."""
    return hasattr(type(value), "iter_references")


def _is_called(value: object) -> bool:
    return callable(value) and not hasattr(value, "__arrow_c_stream__")


def _name(function: object) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))


@dataclass(frozen=True)
class SourceArguments:
    """The arguments that say where the rows come from; exactly one of ``data``, ``sql`` and ``table`` is
    given.

    :param data: frame, Arrow data, list of dicts, dict of columns, path(s) or URI(s), or a callable that
        returns one.
    :param sql: query for ``sql_conn_id``.
    :param table: table of ``sql_conn_id``, ``name`` or ``schema.name``.
    :param data_conn_id: Airflow connection of the object storage that holds the files.
    :param order_by: columns by which the warehouse is to order the rows: time, then id. Empty for no order.
    """

    data: object = None
    sql: str | None = None
    table: str | None = None
    sql_conn_id: str | None = None
    sql_parameters: Mapping[str, Any] | Sequence[Any] | None = None
    data_conn_id: str | None = None
    order_by: Sequence[str] = ()

    def check(self) -> None:
        """Raise :class:`DeepchecksConfigError` unless one source is given, with what belongs to it."""
        given = [name for name in ("data", "sql", "table") if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"{' and '.join(given)} are given"
            if not given:
                found = "none is given, or the task whose output it is returned None"
            raise DeepchecksConfigError(
                f"Exactly one of data=, sql= and table= says where the rows come from; {found}. "
                "Keep one and remove the others."
            )
        source = given[0]
        if self.sql_parameters is not None and source != "sql":
            raise DeepchecksConfigError(
                f"sql_parameters= belongs to sql=, but {source}= is given. Remove it."
            )
        if source != "data" and self.sql_conn_id is None:
            raise DeepchecksConfigError(
                f"{source}= needs sql_conn_id=, the Airflow connection of the warehouse to read from."
            )
        value = getattr(self, source)
        if isinstance(value, str) and not value.strip():
            raise DeepchecksConfigError(f"{source}= is empty once it is rendered: give a value.")

    def open(self, context: Context) -> Source:
        """Open the source; nothing is read before its first batch is asked for.

        :raises DeepchecksConfigError: not exactly one source, or a connection that is no SQL connection.
        :raises DeepchecksSourceError: a callable that failed, data of an unknown kind, no matching file.
        """
        self.check()
        if self.data is None:
            return self._open_sql()
        data = self.data.value if isinstance(self.data, Rows) else self.data
        if _is_called(data):
            data = _call(data, context)  # type: ignore[arg-type]
        from airflow_provider_deepchecks.records.sources.source import is_path, open_source

        if self.data_conn_id is not None:
            with known_connection("data_conn_id", self.data_conn_id):
                _connection(self.data_conn_id)
        if is_path(data):
            data = storage_path(data, self.data_conn_id)
        elif isinstance(data, Sequence) and data and not isinstance(data, (bytes, str)):
            # What a mapped task gives is a lazy sequence.
            data = list(data)
            if all(map(is_path, data)):
                data = [storage_path(path, self.data_conn_id) for path in data]
        return open_source(data)

    def _open_sql(self) -> Source:
        from airflow_provider_deepchecks.records.sources.source import open_query, open_table

        assert self.sql_conn_id is not None
        hook = sql_hook("sql_conn_id", self.sql_conn_id)
        options: dict[str, Any] = {
            "dialect": hook.dialect_name,
            "order_by": tuple(self.order_by),
            "name": self.sql_conn_id,
        }
        if self.table is not None:
            return open_table(hook.get_conn, self.table, **options)
        assert self.sql is not None
        return open_query(hook.get_conn, self.sql, self.sql_parameters, **options)


@contextmanager
def known_connection(setting: str, conn_id: str) -> Iterator[None]:
    """Say which argument names a connection that Airflow does not know or cannot use.

    :raises DeepchecksMissingConnectionError: Airflow does not know it.
    :raises DeepchecksConfigError: it cannot be used.
    """
    try:
        yield
    except AirflowNotFoundException as error:
        raise DeepchecksMissingConnectionError(setting, conn_id) from error
    except AirflowException as error:
        raise DeepchecksConfigError(f"{setting}={conn_id!r} cannot be used: {error}") from error


def sql_hook(setting: str, conn_id: str) -> DbApiHook:
    """The hook of a connection of a database.

    :param setting: argument that names it.
    :raises DeepchecksConfigError: no such connection, or none that speaks SQL.
    """
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    with known_connection(setting, conn_id):
        hook = _connection(conn_id).get_hook()
    if not isinstance(hook, DbApiHook):
        raise DeepchecksConfigError(
            f"{setting}={conn_id!r} is a connection of {type(hook).__name__}, which does not speak SQL "
            "through Airflow's common-sql. Name a connection of a database."
        )
    return hook


def _connection(conn_id: str) -> Any:
    from airflow.providers.common.compat.sdk import BaseHook

    return BaseHook.get_connection(conn_id)


def _call(function: Callable[..., object], context: Context) -> object:
    """Call like PythonOperator does: with those entries of the context that the function names."""
    from airflow.providers.common.compat.sdk import determine_kwargs

    try:
        return function(**determine_kwargs(function, (), context))
    except (AirflowException, DeepchecksError):
        raise  # the function's own word: skip, fail for good, ...
    except Exception as error:
        raise DeepchecksSourceError(
            f"data={_name(function)} was called for the rows and failed: {type(error).__name__}: {error}"
        ) from error
