# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The shipped flights are what their README says, and the warehouse holds all of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from example_dags.demo import stage, warehouse

if TYPE_CHECKING:
    from pathlib import Path

BEGIN, END = datetime(2013, 7, 1, tzinfo=UTC), datetime(2013, 7, 15, tzinfo=UTC)


def rows(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(warehouse.DATA / f"{name}.parquet").to_pylist()
    return found


@pytest.fixture(scope="module")
def predictions() -> dict[str, dict[str, Any]]:
    return {row["sample_id"]: row for row in rows("flight_predictions")}


@pytest.fixture(scope="module")
def arrivals() -> list[dict[str, Any]]:
    return rows("flight_arrivals")


def test_ids_are_unique_and_times_in_order(predictions: dict[str, dict[str, Any]]) -> None:
    assert len(predictions) == len(rows("flight_predictions")) == 12_950
    times = [row["scheduled_departure"] for row in predictions.values()]
    assert times == sorted(times)
    assert BEGIN <= times[0] < BEGIN + timedelta(days=1)
    assert END - timedelta(days=1) <= times[-1] < END


def test_every_flight_has_a_prediction_and_the_features(predictions: dict[str, dict[str, Any]]) -> None:
    columns = {"sample_id", "scheduled_departure", "predicted_arr_delay", *stage.FEATURES}
    for row in predictions.values():
        assert row.keys() == columns
        assert isinstance(row["predicted_arr_delay"], float)


def test_a_delay_becomes_known_after_the_departure(
    predictions: dict[str, dict[str, Any]], arrivals: list[dict[str, Any]]
) -> None:
    assert len({row["sample_id"] for row in arrivals}) == len(arrivals) == 12_363
    for row in arrivals:
        flight = predictions[row["sample_id"]]
        left = flight["scheduled_departure"] + timedelta(minutes=flight["dep_delay"])
        assert timedelta(minutes=20) < row["arrived_at"] - left < timedelta(hours=13)


def test_cancelled_flights_never_get_a_label(
    predictions: dict[str, dict[str, Any]], arrivals: list[dict[str, Any]]
) -> None:
    cancelled = {sample_id for sample_id, row in predictions.items() if row["dep_delay"] is None}
    assert len(cancelled) == 487
    assert not cancelled & {row["sample_id"] for row in arrivals}


def test_predictions_are_better_than_guessing(
    predictions: dict[str, dict[str, Any]], arrivals: list[dict[str, Any]]
) -> None:
    truth = [row["arr_delay"] for row in arrivals]
    average = sum(truth) / len(truth)
    errors = [
        abs(predictions[row["sample_id"]]["predicted_arr_delay"] - row["arr_delay"]) for row in arrivals
    ]
    guesses = [abs(delay - average) for delay in truth]
    assert sum(errors) < 0.5 * sum(guesses)


def test_files_stay_small() -> None:
    assert sum(path.stat().st_size for path in warehouse.DATA.iterdir()) < 1_000_000


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("warehouse") / "flights.db"
    warehouse.load(path)
    return path


def test_warehouse_holds_the_files(flights: Path, predictions: dict[str, dict[str, Any]]) -> None:
    with closing(sqlite3.connect(flights)) as connection:
        connection.row_factory = sqlite3.Row
        held = {row["sample_id"]: dict(row) for row in connection.execute("SELECT * FROM flight_predictions")}
    for row in held.values():
        row["scheduled_departure"] = datetime.fromisoformat(row["scheduled_departure"])
    assert held == predictions


def test_days_add_up_to_the_files(flights: Path, arrivals: list[dict[str, Any]]) -> None:
    days = [warehouse.count(flights, day) for day in warehouse.days(date(2013, 7, 1), 14)]
    assert sum(day.flights for day in days) == 12_950
    assert sum(day.departed for day in days) == 12_950 - 487
    assert sum(day.arrived for day in days) == sum(row["arrived_at"] < END for row in arrivals)
    assert all(day.labeled <= day.departed <= day.flights for day in days)
    late = warehouse.count(flights, date(2013, 7, 1), known_until=date(2013, 7, 2))
    assert late.labeled > days[0].labeled


def test_loading_again_changes_nothing(flights: Path) -> None:
    before = warehouse.count(flights, date(2013, 7, 5))
    warehouse.load(flights)
    assert warehouse.count(flights, date(2013, 7, 5)) == before
