# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the server lists about a receipt's rows: told by reason, and kept whole."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_deepchecks.client.types import IngestionError
from airflow_provider_deepchecks.delivery.proof import refusals as module
from airflow_provider_deepchecks.delivery.proof.refusals import (
    is_duplicate,
    keep_errors,
    listed_errors,
    log_reasons,
    reason_of,
    sample_time,
)
from airflow_provider_deepchecks.exceptions import DeepchecksServerError
from tests.delivery.conftest import START, FastClock, label_rows, label_target, rows, stream, uploader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.delivery.receipt import Receipt
    from airflow_provider_deepchecks.local_server.server import CreatedVersion, LocalServer

pytestmark = pytest.mark.usefixtures("version")


# -- the server's words --


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "Exception: data must contain ['f_cat'] properties, for id: s355",
            "Exception: data must contain ['f_cat'] properties",
        ),
        (
            "Exception: data.f must be number or null, for id: a, b",
            "Exception: data.f must be number or null",
        ),
        ("Duplicate index on log for id s0", "Duplicate index"),
        ("Got future timestamp: 2026-11-22T23:49:48.164098+00:00, for sample id: s0", "Got future timestamp"),
        ("Got duplicate label for sample id: s2. 2.0 vs 1.0", "Got duplicate label"),
        ("something new", "something new"),
    ],
)
def test_reasons_leave_out_the_row(message: str, reason: str) -> None:
    assert reason_of(message) == reason


def error(sample: str | None, message: str = "no") -> IngestionError:
    return IngestionError(1, "s", message, sample, START, 1)


@pytest.mark.parametrize(
    ("message", "duplicate"),
    [
        ("Duplicate index on log for id s", True),
        ("Got duplicate sample id: s", True),
        ("Got duplicate label for sample id: s. 2.0 vs 2.0", True),
        ("Got duplicate label for sample id: s. 2.0 vs 1.0", False),
        ("Got duplicate label for sample id: s. red vs blue vs red vs blue", True),
        ("Got duplicate label for sample id: s. red vs blue vs red", False),
        ("Got duplicate label for sample id: s. ", False),
        ("Got duplicate label for sample id: t. 2.0 vs 2.0", False),
        ("Exception saving label: no number, for id: s", False),
    ],
)
def test_what_came_before_is_no_refusal(message: str, duplicate: bool) -> None:
    assert is_duplicate(error(None, message)) is duplicate


@pytest.mark.parametrize(
    ("sample", "moment"),
    [
        ("{'_dc_time': '2026-01-01T10:00:00.5+02:00', 'f': 1}", datetime(2026, 1, 1, 8, 0, 0, 500_000, UTC)),
        (
            "{'_dc_time': DateTime(2026, 11, 22, 22, 10, 29, 481889, tzinfo=Timezone('+00:00')), 'f': 1}",
            datetime(2026, 11, 22, 22, 10, 29, 481889, UTC),
        ),
        (
            "{'_dc_time': DateTime(2026, 1, 2, 3, 4, 5, tzinfo=Timezone('UTC'))}",
            datetime(2026, 1, 2, 3, 4, 5, 0, UTC),
        ),
        (
            "{'_dc_time': DateTime(2026, 1, 2, 3, 4, 5, tzinfo=Timezone('+01:00'))}",
            datetime(2026, 1, 2, 2, 4, 5, 0, UTC),
        ),
        ("{'_dc_time': '2026-01-01T10:00:00'}", None),
        ("{'_dc_time': '2026-13-01T10:00:00+00:00'}", None),
        ("{'_dc_time': 5}", None),
        ("", None),
        (None, None),
    ],
)
def test_the_time_of_a_refused_row(sample: str | None, moment: datetime | None) -> None:
    assert sample_time(error(sample)) == moment


def test_reasons_are_logged_with_their_counts(caplog: pytest.LogCaptureFixture) -> None:
    found = log_reasons([error(None, "bad, for id: a"), error(None, "bad, for id: b"), error(None, "worse")])
    assert found == {"bad": 2, "worse": 1}
    assert "refused 2 rows: bad" in caplog.text


# -- telling and keeping --


def of_tomorrow(client: DeepchecksClient, clock: FastClock, count: int, **more: Any) -> Receipt:
    """The receipt of rows that the server refuses after its 200, each for its time."""
    ahead = datetime.now(UTC) + timedelta(days=1)
    return uploader(client, clock, **more).run(stream(rows(count, start=ahead)))


def send_again(server: LocalServer, version: CreatedVersion, sample_id: str, receipt: Receipt) -> None:
    """Have the server list a row of the receipt's window as stored before."""
    assert receipt.window_start is not None
    row = {
        "_dc_sample_id": sample_id,
        "_dc_time": receipt.window_start.isoformat(),
        "_dc_prediction": 1.0,
        "f": 1.0,
    }
    server.call("POST", f"/model-versions/{version.id}/data", [row])


def test_every_entry_is_kept_whole(
    deepchecks_server: LocalServer,
    version: CreatedVersion,
    client: DeepchecksClient,
    clock: FastClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """More than a page of them; rows stored before are kept and told, but not as refusals."""
    caplog.set_level(logging.INFO)
    receipt = uploader(client, clock).run(stream(rows(5)))
    send_again(deepchecks_server, version, "s0", receipt)
    body = [
        {"_dc_sample_id": f"bad{n}", "_dc_time": START.isoformat(), "_dc_prediction": "text", "f": 1.0}
        for n in range(700)
    ]
    deepchecks_server.call("POST", f"/model-versions/{version.id}/data", body)
    path = tmp_path / "deep" / "bad-errors.parquet"
    keep_errors(client, receipt, path)
    table = pq.read_table(path)
    assert table.schema.names == ["sample_id", "version_id", "error", "sample", "created_at"]
    kept = {row["sample_id"]: row for row in table.to_pylist()}
    assert (table.num_rows, len(kept)) == (701, 701)
    for listed in client.ingestion_errors(version.model_id):
        assert kept[str(listed.sample_id)] == {
            "sample_id": listed.sample_id,
            "version_id": version.id,
            "error": listed.error,
            "sample": listed.sample,
            "created_at": listed.created_at,
        }
    assert "'_dc_prediction': 'text'" in kept["bad0"]["sample"]
    assert kept["s0"]["error"].startswith("Duplicate index")
    told = [
        (record.levelname, record.getMessage()) for record in caplog.records if record.name == module.__name__
    ]
    assert [level for level, _ in told] == ["WARNING", "INFO", "INFO"]
    assert told[0][1].startswith("The server refused 700 rows: ")
    assert told[1][1] == "The server lists 1 rows or labels that came before."
    assert str(path) in told[2][1]
    assert list(path.parent.iterdir()) == [path]


def test_without_a_file_the_log_tells(
    client: DeepchecksClient, clock: FastClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep_errors(client, of_tomorrow(client, clock, 3))
    assert "The server refused 3 rows: Got future timestamp" in caplog.text


def test_nothing_listed_makes_no_file(client: DeepchecksClient, clock: FastClock, tmp_path: Path) -> None:
    keep_errors(client, uploader(client, clock).run(stream(rows(3))), tmp_path / "errors.parquet")
    assert list(tmp_path.iterdir()) == []


def test_labels_have_entries_of_their_own(client: DeepchecksClient, clock: FastClock, tmp_path: Path) -> None:
    uploader(client, clock).run(stream(rows(3)))
    wrong = label_rows(3).set_column(1, "_dc_label", pa.array(["x", "y", "z"]))
    receipt = uploader(client, clock, label_target(client, "m")).run(stream(wrong, kind="labels"))
    keep_errors(client, receipt, tmp_path / "errors.parquet")
    kept = pq.read_table(tmp_path / "errors.parquet").to_pylist()
    assert [(row["sample_id"], row["version_id"]) for row in kept] == [
        ("s0", None),
        ("s1", None),
        ("s2", None),
    ]


def test_object_storage_gets_one_upload(client: DeepchecksClient, clock: FastClock) -> None:
    keep_errors(client, of_tomorrow(client, clock, 3), "memory://refusals/errors.parquet")
    memory = fsspec.filesystem("memory")
    with memory.open("/refusals/errors.parquet") as file:
        assert pq.read_table(file).num_rows == 3
    memory.rm("/refusals", recursive=True)


def test_a_listing_that_breaks_off_leaves_no_half_file(
    deepchecks_server: LocalServer,
    client: DeepchecksClient,
    clock: FastClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receipt = of_tomorrow(client, clock, 120)
    whole = client.ingestion_errors

    def broken(*arguments: Any, **more: Any) -> Iterator[IngestionError]:
        yield from itertools.islice(whole(*arguments, **more), 110)
        raise DeepchecksServerError("away")

    monkeypatch.setattr(client, "ingestion_errors", broken)
    path = tmp_path / "errors.parquet"
    path.write_text("old")
    with pytest.raises(DeepchecksServerError, match="away"):
        keep_errors(client, receipt, path)
    assert [item.read_text() for item in tmp_path.iterdir()] == ["old"]


def test_a_file_that_cannot_be_written_is_an_error_in_the_log(
    client: DeepchecksClient, clock: FastClock, caplog: pytest.LogCaptureFixture
) -> None:
    keep_errors(client, of_tomorrow(client, clock, 120), "/proc/nowhere/errors.parquet")
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "/proc/nowhere/errors.parquet" in error.getMessage()
    assert "The server refused 120 rows: Got future timestamp" in caplog.text


def test_memory_does_not_grow_with_the_entries(
    client: DeepchecksClient, clock: FastClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries are written as they come: those that were read do not pile up."""
    receipt = of_tomorrow(client, clock, 1)
    (one,) = listed_errors(client, receipt)
    alive = [0]
    most = [0]

    class Counted(IngestionError):
        def __del__(self) -> None:
            alive[0] -= 1

    def many(*_: Any, **__: Any) -> Iterator[IngestionError]:
        for number in range(20_000):
            alive[0] += 1
            most[0] = max(most[0], alive[0])
            yield Counted(
                number, f"s{number}", f"{one.error}{number}", one.sample, one.created_at, one.version_id
            )

    monkeypatch.setattr(client, "ingestion_errors", many)
    keep_errors(client, receipt, tmp_path / "errors.parquet")
    assert pq.read_metadata(tmp_path / "errors.parquet").num_rows == 20_000
    assert most[0] < 10


def test_reasons_without_end_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    found = log_reasons(error(None, f"reason {number}") for number in range(3_000))
    assert (len(found), found.total()) == (1_001, 3_000)
    assert len(caplog.records) == 21
    assert "The server refused 2,980 rows for other reasons" in caplog.text


def test_others_and_earlier_ones_are_not_ours(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    first = of_tomorrow(client, clock, 3)
    deepchecks_server.clock.advance(10)
    second = uploader(client, clock).run(stream(rows(3, prefix="t")))
    assert [item.sample_id for item in listed_errors(client, first)] == ["s0", "s1", "s2"]
    assert list(listed_errors(client, second)) == []
    assert list(listed_errors(client, replace(first, version_id=version.id + 1))) == []
