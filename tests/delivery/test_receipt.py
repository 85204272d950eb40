# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from airflow_provider_deepchecks.delivery.receipt import Example, Receipt
from airflow_provider_deepchecks.exceptions import DeepchecksConfigError

START = datetime(2026, 1, 1, 10, 0, tzinfo=UTC)


def receipt(**changes: object) -> Receipt:
    values: dict[str, object] = {
        "kind": "samples",
        "server": "http://127.0.0.1:8000",
        "model": "m",
        "model_id": 1,
        "version": "v",
        "version_id": 2,
        "source": "a frame",
        "started_at": START,
        "finished_at": START + timedelta(seconds=4),
        **changes,
    }
    return Receipt(**values)  # type: ignore[arg-type]


def test_a_receipt_survives_json() -> None:
    before = receipt(
        read=10,
        sent=7,
        waiting=7,
        already_stored=1,
        refused=2,
        window_start=START,
        window_end=START + timedelta(microseconds=1),
        version_ids=(3, 4),
        reasons={"no": 2},
        examples=(Example("a", "no"), Example(None, "no")),
    )
    assert Receipt.from_dict(json.loads(json.dumps(before.to_dict()))) == before


def test_times_are_written_in_utc_wherever_the_worker_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as there:
        there.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        text = receipt(started_at=START.astimezone(timezone(timedelta(hours=2)))).to_dict()["started_at"]
    time.tzset()
    assert text == "2026-01-01T10:00:00+00:00"


@pytest.mark.parametrize("counts", [{"read": 1}, {"waiting": 1}, {"read": 1, "stored": 2, "waiting": -1}])
def test_rows_that_do_not_add_up_make_no_receipt(counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="Row accounting is broken"):
        receipt(**counts)


def test_quarantined_rows_are_checked_against_the_rows_read() -> None:
    sent = receipt(read=7, sent=7, waiting=7)
    whole = sent.with_read(10, quarantined=3, quarantine_path="/q.parquet", reasons={"null id": 3})
    assert (whole.read, whole.quarantined, whole.quarantine_path) == (10, 3, "/q.parquet")
    with pytest.raises(ValueError, match="10 read"):
        sent.with_read(10, quarantined=2)


def test_the_json_stays_small_whatever_the_names_are() -> None:
    huge = receipt(
        read=90,
        refused=90,
        source="x" * 10_000,
        reasons={f"{'r' * 400}{n}": n + 1 for n in range(50)},
        examples=tuple(Example("é" * 2000, "why " * 900) for _ in range(60)),
    )
    assert len(json.dumps(huge.to_dict())) < 8192
    ascii_only = replace(huge, examples=tuple(Example("i" * 2000, "why " * 900) for _ in range(60)))
    assert len(json.dumps(ascii_only.to_dict())) < 4096


def test_the_most_frequent_reasons_are_kept() -> None:
    many = receipt(reasons={f"reason {n}": n + 1 for n in range(9)})
    assert list(many.to_dict()["reasons"].items())[:2] == [("reason 8", 9), ("reason 7", 8)]
    assert "reason 0" not in many.to_dict()["reasons"]


def test_a_receipt_with_all_parts_is_small() -> None:
    """Labels, files on object storage, a status table, and long names."""
    folder = "s3://deepchecks-quarantine-of-the-team/predictions/churn/2026-01-02"
    wordy = {"examples": tuple(Example("i" * 36, "why " * 30) for _ in range(3))}
    whole = receipt(
        source="x" * 120,
        read=90,
        refused=90,
        reasons={f"{'r' * 80}{n}": n + 1 for n in range(6)},
        labels=receipt(kind="labels", version=None, version_id=None, version_ids=(2,), **wordy),
        quarantine_path=f"{folder}/bad.parquet",
        errors_path=f"{folder}/bad-errors.parquet",
        ids_path=f"{folder}/ids.parquet",
        write_back={
            "table": "monitoring.prediction_statuses",
            "conn_id": "warehouse",
            "run": "customers_to_deepchecks/"
            + "upload_predictions/"
            + "scheduled__2026-01-02T00:00:00+00:00/12",
        },
        **wordy,
    )
    assert len(json.dumps(whole.to_dict())) < 4096
    assert Receipt.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole


@pytest.mark.parametrize(
    "data", [None, 5, "x", {}, {"read": 1}, {"format": 1}, {"format": 1, "kind": "samples"}]
)
def test_what_is_no_receipt_is_said_clearly(data: object) -> None:
    with pytest.raises(DeepchecksConfigError, match=r"no (whole )?receipt"):
        Receipt.from_dict(data)


def test_a_receipt_of_another_format_is_refused() -> None:
    with pytest.raises(DeepchecksConfigError, match="format 99"):
        Receipt.from_dict({**receipt().to_dict(), "format": 99})


@pytest.mark.parametrize("name", ["started_at", "examples", "read"])
def test_a_damaged_receipt_is_refused(name: str) -> None:
    with pytest.raises(DeepchecksConfigError):
        Receipt.from_dict({**receipt().to_dict(), name: "nonsense"})


def test_the_summary_names_every_count() -> None:
    text = receipt(read=8000, sent=8000, waiting=8000).summary()
    assert "8,000 rows read" in text
    assert "8,000 waiting" in text
    assert "2,000 rows/s" in text
    assert "model 'm', version 'v'" in text
    assert "labels read" in receipt(kind="labels", version=None, version_id=None).summary()
