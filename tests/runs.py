# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Running DAGs of a test through real Airflow, in this process, on both lines."""

from __future__ import annotations

import inspect
import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import DAG

#: The date of the run, whatever the machine's is.
DAY = datetime(2026, 1, 2, tzinfo=UTC)

_numbers = itertools.count()
_errors: dict[str, dict[str, list[BaseException]]] = defaultdict(lambda: defaultdict(list))


@dataclass(frozen=True)
class Ran:
    """A finished run.

    :param state: of the run.
    :param states: of the tasks; of a mapped task by ``name[index]``.
    :param results: XCom results of the tasks.
    :param tries: how often each task was tried.
    :param rendered: the rendered fields of the tasks, as Airflow keeps them.
    :param errors: what each try of each task raised; of DAGs from :func:`new_dag`.
    :param run_id: of the run.
    """

    state: str
    states: Mapping[str, str]
    results: Mapping[str, Any]
    tries: Mapping[str, int] = field(default_factory=dict)
    rendered: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    errors: Mapping[str, list[BaseException]] = field(default_factory=dict)
    run_id: str = ""


def new_dag(**default_args: Any) -> DAG:
    """A DAG with a name of its own, whose tasks tell what they raise; retries come at once."""
    from airflow.providers.common.compat.sdk import DAG

    told = {"on_failure_callback": _keep_error, "on_retry_callback": _keep_error}
    return DAG(
        f"tested_{next(_numbers)}",
        schedule=None,
        start_date=DAY - timedelta(days=1),
        default_args={"retry_delay": timedelta(0), **told, **default_args},
    )


def _keep_error(context: Any) -> None:
    ti = context["ti"]
    _errors[ti.dag_id][_name(ti)].append(context["exception"])


def _make_known(dag: DAG) -> None:
    """Write a DAG to the metadata database, as Airflow 3 wants it before a run; 2.11 does it by itself."""
    try:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
    except ImportError:
        return
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session

    with create_session() as session:
        DagBundlesManager().sync_bundles_to_db(session=session)
        session.commit()
        update_dag_parsing_results_in_db(
            "dags-folder", None, [LazyDeserializedDAG.from_dag(dag)], {}, None, set(), session=session
        )


def run_dag(dag: DAG, day: datetime = DAY) -> Ran:
    """Run all tasks of a DAG, retries and triggers included. Needs the fixture ``airflow_db``."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.utils.session import create_session

    _make_known(dag)
    _errors.pop(dag.dag_id, None)
    # Airflow 3 renamed the argument.
    argument = (
        "logical_date" if "logical_date" in inspect.signature(dag.test).parameters else "execution_date"
    )
    dag_run = dag.test(**{argument: day})
    tis = {_name(ti): ti for ti in dag_run.get_task_instances()}
    with create_session() as session:
        fields = session.query(RenderedTaskInstanceFields).filter_by(dag_id=dag.dag_id, run_id=dag_run.run_id)
        rendered = {_name(item): dict(item.rendered_fields) for item in fields}
    return Ran(
        _text(dag_run.state),
        {name: _text(ti.state) for name, ti in tis.items()},
        {name: _result(ti) for name, ti in tis.items()},
        {name: ti.try_number for name, ti in tis.items()},
        rendered,
        dict(_errors[dag.dag_id]),
        dag_run.run_id,
    )


def _name(ti: Any) -> str:
    return ti.task_id if ti.map_index is None or ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"


def _text(state: Any) -> str:
    return str(getattr(state, "value", state))


def _result(ti: Any) -> Any:
    return ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)


def clear_once(dag_id: str, task_id: str) -> Any:
    """A function for a last task of a DAG: at its first call it clears another task, as a user does."""
    from airflow.models import TaskInstance
    from airflow.models.taskinstance import clear_task_instances
    from airflow.utils.session import create_session

    calls: list[str] = []

    def clear() -> None:
        calls.append(task_id)
        if len(calls) > 1:
            return
        with create_session() as session:
            cleared = session.query(TaskInstance).filter_by(dag_id=dag_id, task_id=task_id).all()
            clear_task_instances(cleared, session=session, dag_run_state=False)

    return clear
