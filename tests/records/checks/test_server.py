# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Whatever passes the checks is stored as it was, and whatever does not has a reason: against a server."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_deepchecks.client.api import DeepchecksClient
from airflow_provider_deepchecks.client.settings import ClientSettings
from airflow_provider_deepchecks.records.checks.checker import Checked, Checker, CheckOptions
from airflow_provider_deepchecks.records.checks.schema import RecordSchema
from airflow_provider_deepchecks.records.checks.unique import UniqueIds
from airflow_provider_deepchecks.records.chunks.encode import encode_labels, encode_samples
from airflow_provider_deepchecks.records.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_deepchecks.local_server.server import LocalServer

FEATURES = {
    "n": "numeric",
    "i": "integer",
    "b": "bigint",
    "c": "categorical",
    "f": "boolean",
    "d": "datetime",
    "l": "array_float",
}
ADDITIONAL = {"t": "text", "m": "array_float_2d"}
COLUMNS = Columns("id", "at", "guess", ("p",))
ROWS = 6

_texts = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["", "\0", "a\0b", "\u2028", "🙂"]
)
_floats = st.floats(width=64) | st.sampled_from([3.0, 3.5, 2.0**31, 2.0**63, -0.0])
_times = st.one_of(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),
    st.datetimes(datetime(1960, 1, 1), datetime(2026, 1, 1)),
)


def _column(cells: st.SearchStrategy[Any], kind: pa.DataType) -> st.SearchStrategy[pa.Array]:
    found = st.lists(st.none() | cells, min_size=ROWS, max_size=ROWS)
    return found.map(lambda values: pa.array(values, kind))


_decimals = st.decimals(-(10**12), 10**12, places=3)
_numbers = st.one_of(
    _column(_floats, pa.float64()),
    _column(st.integers(-(2**63), 2**63 - 1), pa.int64()),
    _column(st.integers(0, 2**64 - 1), pa.uint64()),
    _column(st.integers(-100, 100), pa.int8()),
    _column(_decimals, pa.decimal128(38, 3)),
    _column(st.floats(width=32), pa.float32()),
)
_words = st.one_of(
    _column(_texts, pa.string()),
    _column(_texts, pa.large_string()),
    _column(_texts, pa.string()).map(lambda values: values.dictionary_encode()),
    _numbers,
)
_instants = st.one_of(
    _column(_times.map(lambda time: time.replace(tzinfo=UTC)), pa.timestamp("us", "UTC")),
    _column(st.integers(-(2**63), 2**63 - 1), pa.timestamp("s", "UTC")),
    _column(_times.map(lambda time: time.isoformat() + "+02:00"), pa.string()),
    _column(_texts, pa.string()),
)
_ids = st.one_of(
    _column(st.text("abc\0é", max_size=2), pa.string()),
    _column(st.integers(-3, 3), pa.int64()),
    _column(st.text("xy", min_size=1990, max_size=2010), pa.large_string()),
)
_classes = st.one_of(
    _column(st.sampled_from(["0", "1", "2", "", "\0"]), pa.string()),
    _column(st.sampled_from([0.0, 1.0, 2.0, 0.5, float("nan")]), pa.float64()),
    _column(st.integers(-1, 2), pa.int64()),
)
_probabilities = st.lists(st.none() | st.floats(), max_size=3)
_matrix = st.lists(_floats, max_size=2)
_nasty = {
    "id": _ids,
    "at": _instants | _column(st.integers(0, 4 * 10**9), pa.int64()),
    "guess": _classes,
    "p": _column(_probabilities, pa.list_(pa.float64())),
    "n": _numbers,
    "i": _numbers,
    "b": _numbers,
    "c": _words,
    "t": _words,
    "f": _column(st.booleans(), pa.bool_()) | _numbers | _column(st.integers(0, 1), pa.int64()),
    "d": _instants,
    "l": _column(st.lists(st.none() | _floats, max_size=3), pa.list_(pa.float64())),
    "m": _column(st.lists(st.none() | _matrix, max_size=2), pa.list_(pa.list_(pa.float64()))),
}
_good = {
    "id": pa.array([f"s{row}" for row in range(ROWS)]),
    "at": pa.array([1_700_000_000 + row for row in range(ROWS)]),
    "guess": pa.array(["0", "1"] * 3),
    "p": pa.array([[0.5, 0.5]] * ROWS),
    "n": pa.array([1.5] * ROWS),
    "i": pa.array([3.0] * ROWS),
    "b": pa.array([2**62] * ROWS),
    "c": pa.array([1.0] * ROWS),
    "t": pa.array(['é\u2028"'] * ROWS),
    "f": pa.array([1] * ROWS),
    "d": pa.array(["2026-01-01T00:00:00Z"] * ROWS),
    "l": pa.array([[1.0]] * ROWS),
    "m": pa.array([[[1.0]]] * ROWS),
}
#: Mostly good columns: rows that nothing is wrong with shall come up too.
_sources = st.fixed_dictionaries(
    {name: st.one_of(*[st.just(values)] * 5, _nasty[name]) for name, values in _good.items()}
)
_numbering = itertools.count()


@pytest.fixture
def client(deepchecks_server: LocalServer) -> Iterator[DeepchecksClient]:
    settings = ClientSettings(deepchecks_server.url, deepchecks_server.token)
    with DeepchecksClient(settings) as found:
        yield found


def _new_version(server: LocalServer) -> Any:
    return server.create_model(
        "m",
        "binary",
        version=f"v{next(_numbering)}",
        features=FEATURES,
        additional_data=ADDITIONAL,
        classes=["0", "1"],
    )


def _checked(checks: Checker, batch: pa.RecordBatch) -> Checked:
    checks.bind(batch.schema)
    with UniqueIds() as ids:
        return ids.check(checks.check(batch, 0))


@given(source=_sources, non_finite=st.sampled_from(["null", "invalid"]))
@example(source=_good, non_finite="null")
@settings(
    max_examples=60,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
def test_samples_that_pass_are_stored_as_they_were(
    deepchecks_server: LocalServer, client: DeepchecksClient, source: dict[str, pa.Array], non_finite: Any
) -> None:
    version = deepchecks_server.create_model(
        "m",
        "binary",
        version=f"v{next(_numbering)}",
        features=FEATURES,
        additional_data=ADDITIONAL,
        classes=["0", "1"],
    )
    schema = RecordSchema.samples(client.schema(version.id), "binary", Columns("id", "at", "guess", ("p",)))
    checks = Checker(schema, CheckOptions(non_finite=non_finite, timezone="UTC"), now=client.server_now)
    checked = _checked(checks, pa.RecordBatch.from_pydict(source))

    rows = checked.rows.num_rows
    named = {row.position for row in checked.bad_rows()}
    assert named == set(range(ROWS)) - set(checked.rows.column("__position").to_pylist())
    if rows:
        body = encode_samples(checked.rows)
        client.send_samples(version.id, body, rows)
        assert [error.error for error in deepchecks_server.errors("m", version.name)] == []
        sent = {row["_dc_sample_id"]: row for row in json.loads(body)}
        # The server keeps probabilities that did not come as null.
        nothing = {"_dc_prediction_probabilities": None}
        assert deepchecks_server.stored("m", version.name) == {
            key: nothing | row for key, row in sent.items()
        }
        assert client.count_samples(version.id) == rows


@given(source=st.fixed_dictionaries({"id": _ids, "truth": _classes}), allow_null=st.booleans())
@example(
    source={"id": pa.array([*range(ROWS)]), "truth": pa.array(["0", "1", *[None] * (ROWS - 2)])},
    allow_null=True,
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_labels_that_pass_are_stored_as_they_were(
    deepchecks_server: LocalServer, client: DeepchecksClient, source: dict[str, pa.Array], allow_null: bool
) -> None:
    name = f"m{next(_numbering)}"
    version = deepchecks_server.create_model(name, "binary", features={"n": "numeric"}, classes=["0", "1"])
    schema = RecordSchema.labels(
        "binary", Columns("id", label="truth"), classes=("0", "1"), allow_null=allow_null
    )
    checked = _checked(
        Checker(schema, CheckOptions(), now=client.server_now), pa.RecordBatch.from_pydict(source)
    )
    # A label of a third class is dropped when the server knows the sample, so it has to know them all.
    ids = checked.rows.column("_dc_sample_id").to_pylist()
    if ids:
        past = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
        samples = [{"_dc_sample_id": one, "_dc_time": past, "_dc_prediction": "0", "n": 1.0} for one in ids]
        client.send_samples(version.id, json.dumps(samples).encode(), len(ids))
        client.send_labels(version.model_id, encode_labels(checked.rows), len(ids))
    assert deepchecks_server.errors(name) == []
    expected = dict(zip(ids, checked.rows.column("_dc_label").to_pylist(), strict=True))
    stored = deepchecks_server.labels(name)
    assert stored.keys() <= expected.keys()
    # To a binary model null is a third class, which it drops: the sample stays without a label, as meant.
    assert {one: stored.get(one) for one in expected} == expected


#: Rows that the server refuses, loses or chokes on (measured on server 0.19.3), as sources may hold them.
_SERVER_REFUSES: dict[str, dict[str, Any]] = {
    "no id": {"id": pa.array([None], pa.string())},
    "no time": {"at": pa.array([None], pa.int64())},
    "no prediction": {"guess": pa.array([None], pa.string())},
    "future": {"at": pa.array([datetime.now(UTC) + timedelta(hours=1)], pa.timestamp("us", "UTC"))},
    "fraction": {"i": pa.array([3.5])},
    "over 32 bits": {"i": pa.array([3_000_000_000])},
    "NUL": {"t": pa.array(["a\0b"])},
    "long id": {"id": pa.array([np.random.default_rng(1).bytes(6000).hex()])},
    "two probabilities expected": {"p": pa.array([[1.0]])},
    "null in a list": {"l": pa.array([[None, 1.0]])},
    "year 1": {"at": pa.array([datetime(1, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))},
    "over 64 bits": {"b": pa.array([Decimal(2**64)])},
}


@pytest.mark.parametrize("cells", _SERVER_REFUSES.values(), ids=_SERVER_REFUSES.keys())
def test_rows_that_the_server_refuses_do_not_pass(
    deepchecks_server: LocalServer, client: DeepchecksClient, cells: dict[str, pa.Array]
) -> None:
    version = deepchecks_server.create_model(
        "m", "binary", features=FEATURES, additional_data=ADDITIONAL, classes=["0", "1"]
    )
    schema = RecordSchema.samples(client.schema(version.id), "binary", Columns("id", "at", "guess", ("p",)))
    batch = pa.RecordBatch.from_pydict(
        {name: cells.get(name, values.slice(0, 1)) for name, values in _good.items()}
    )
    checked = _checked(Checker(schema, CheckOptions(), now=client.server_now), batch)
    assert checked.rows.num_rows == 0
    assert [row.position for row in checked.bad_rows()] == [0]
