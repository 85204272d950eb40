# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""From an operator's arguments, or a receipt, to the table that takes the status of each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError
from airflow_provider_deepchecks.operators.inputs import sql_hook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_deepchecks.delivery.proof.write_back import StatusTable


def run_name(ti: Any) -> str:
    """The run of a task as the table names it, the same in every attempt: ``dag_id/task_id/run_id``, and
    ``/map_index`` when the task is mapped.

    :param ti: the task instance.
    """
    name = f"{ti.dag_id}/{ti.task_id}/{ti.run_id}"
    return name if ti.map_index is None or ti.map_index < 0 else f"{name}/{ti.map_index}"


def wanted_status_table(
    context: Context, *, table: str | None, status_conn_id: str | None, sql_conn_id: str | None
) -> StatusTable | None:
    """The status table that an operator's arguments ask for, if they do.

    :raises DeepchecksConfigError: naming the setting that is wrong or missing.
    """
    if table is None:
        if status_conn_id is not None:
            raise DeepchecksConfigError(
                "status_conn_id= belongs to status_table=, which is not given. Name the table, or remove it."
            )
        return None
    setting, conn_id = "status_conn_id", status_conn_id
    if conn_id is None:
        setting, conn_id = "sql_conn_id", sql_conn_id
    if conn_id is None:
        raise DeepchecksConfigError(
            "status_table= needs status_conn_id=, the Airflow connection of its database; without it "
            "sql_conn_id= is taken, which is not given either."
        )
    return status_table(setting, conn_id, table, run_name(context["ti"]))


def status_table(setting: str, conn_id: str, table: str, run: str) -> StatusTable:
    """The status table of a run; the database is not asked for anything yet.

    :param setting: argument that names the connection.
    :raises DeepchecksConfigError: no such connection, none that speaks SQL, or no name of a table.
    """
    from airflow_provider_deepchecks.delivery.proof.write_back import StatusTable

    hook = sql_hook(setting, conn_id)

    def connect() -> Any:
        connection = hook.get_conn()
        if hook.supports_autocommit:
            hook.set_autocommit(connection, False)
        return connection

    return StatusTable(connect, table, run, placeholder=hook.placeholder, conn_id=conn_id)


def status_table_of(write_back: Mapping[str, str]) -> StatusTable:
    """The status table that a receipt names."""
    return status_table("status_conn_id", write_back["conn_id"], write_back["table"], write_back["run"])
