# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from airflow_provider_deepchecks.delivery.upload.checkpoint import (
    Checkpoint,
    FileCheckpoint,
    NoCheckpoint,
    Progress,
    StoreCheckpoint,
    resumable,
)

if TYPE_CHECKING:
    from pathlib import Path

PROGRESS = Progress(
    fingerprint="a table",
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    acknowledged=10,
    digest="10:abc",
    in_flight=5,
    counted_until=datetime(2026, 1, 1, 1, 2, 3, 4, tzinfo=UTC),
    rejected=((3, "HTTP 500"),),
    labels_rejected=(("s4", "HTTP 500"),),
)


class Store(dict[str, Any]):
    """A key-value store that keeps JSON, as Airflow's does."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        del self[key]


@pytest.fixture(params=["store", "file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Makes checkpoints of one place, one for each attempt."""
    store = Store()
    if request.param == "store":
        return lambda **identity: StoreCheckpoint(store, identity=identity)
    if request.param == "file":
        return lambda **identity: FileCheckpoint(tmp_path / "deep" / "progress.json", identity=identity)
    url = f"memory://{tmp_path.name}/progress.json"
    return lambda **identity: FileCheckpoint(url, identity=identity)


def test_progress_survives(place: Any) -> None:
    assert place().load() is None
    place().save(PROGRESS)
    assert place().load() == PROGRESS
    place().clear()
    assert place().load() is None


def test_a_cleared_task_starts_afresh(place: Any) -> None:
    """A manual Clear raises max_tries, a retry does not."""
    place(max_tries=2).save(PROGRESS)
    assert place(max_tries=2).load() == PROGRESS
    assert place(max_tries=4).load() is None


def test_clearing_nothing_is_fine(place: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        place().clear()
    assert len([record for record in caplog.records if "cannot be removed" in record.message]) <= 1


def test_a_damaged_checkpoint_is_a_fresh_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "progress.json"
    checkpoint = FileCheckpoint(path)
    caplog.set_level(logging.INFO)
    for text in (
        "",
        "{",
        "[]",
        "{}",
        '{"identity": {}, "progress": {"format": 9}}',
        '{"identity": {}, "progress": {"format": 1}}',
    ):
        path.write_text(text)
        assert checkpoint.load() is None
        assert "starting afresh" in caplog.text
        caplog.clear()
    assert FileCheckpoint(path).load() is None


class BrokenStore:
    def get(self, key: str, default: Any = None) -> Any:
        raise ConnectionError("database is down")

    def set(self, key: str, value: Any) -> None:
        raise ConnectionError("database is down")

    def delete(self, key: str) -> None:
        raise ConnectionError("database is down")


def test_a_checkpoint_that_cannot_be_kept_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = StoreCheckpoint(BrokenStore())
    assert checkpoint.load() is None
    caplog.clear()
    for _ in range(5):
        checkpoint.save(PROGRESS)
    checkpoint.clear()
    assert [record.message for record in caplog.records] == [
        "The checkpoint cannot be written: ConnectionError: database is down"
    ]


def test_a_file_is_never_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "progress.json"
    FileCheckpoint(path).save(PROGRESS)
    whole = path.read_text()

    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    FileCheckpoint(path).save(Progress("other", PROGRESS.started_at))
    assert path.read_text() == whole
    assert [item.name for item in tmp_path.iterdir()] == ["progress.json"]


def test_the_filesystem_can_be_given(tmp_path: Path) -> None:
    filesystem = fsspec.filesystem("memory")
    path = f"/{tmp_path.name}-given.json"
    FileCheckpoint(path, filesystem=filesystem).save(PROGRESS)
    assert FileCheckpoint(path, filesystem=filesystem).load() == PROGRESS


def test_a_store_that_keeps_text_works_too() -> None:
    class TextStore(Store):
        def set(self, key: str, value: Any) -> None:
            self[key] = json.dumps(value)

    checkpoint = StoreCheckpoint(TextStore())
    checkpoint.save(PROGRESS)
    assert checkpoint.load() == PROGRESS


def test_the_record_stays_small() -> None:
    huge = Progress("x" * 200, PROGRESS.started_at, rejected=tuple((n, "HTTP 500 " * 20) for n in range(101)))
    assert len(json.dumps(huge.to_dict())) < 64 * 1024


def test_no_checkpoint_keeps_nothing() -> None:
    nothing: Checkpoint = NoCheckpoint()
    nothing.save(PROGRESS)
    assert nothing.load() is None
    nothing.clear()


def test_only_the_same_upload_is_gone_on_with(caplog: pytest.LogCaptureFixture) -> None:
    assert resumable(None, "a table") is None
    again = resumable(PROGRESS, "a table")
    assert again is not None
    assert (again.acknowledged, again.attempts) == (10, 2)
    assert resumable(PROGRESS, "another") is None
    assert "has changed" in caplog.text
