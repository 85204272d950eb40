# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The status of each row, when sending ends and when the server's list is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from airflow_provider_deepchecks.delivery.ids import SentIds
from airflow_provider_deepchecks.delivery.proof import observe
from airflow_provider_deepchecks.delivery.proof.statuses import when_sent, when_settled
from airflow_provider_deepchecks.delivery.receipt import Example
from airflow_provider_deepchecks.records import spool
from airflow_provider_deepchecks.records.set_aside import SetAside
from tests.delivery.conftest import START, FastClock, label_rows, label_target, rows, stream, uploader
from tests.records.checking import check, checker, rows_of

if TYPE_CHECKING:
    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.delivery.receipt import Receipt
    from airflow_provider_deepchecks.local_server.server import CreatedVersion, LocalServer


@pytest.mark.parametrize("quarantined", [True, False])
def test_every_row_read_has_a_status(quarantined: bool) -> None:
    batch = rows_of(3, id=["a", None, "n\0" + "i" * 3_000], x=[1.5, 2.5, 3.5])
    with SentIds() as ids, SetAside() as set_aside:
        set_aside.add(check(checker({"x": "integer"}), batch))
        ids.add(rows(2))
        rejected = [Example("r", "HTTP 500: " + "long " * 2_000)]
        found = list(when_sent(ids, set_aside, rejected, quarantined=quarantined))
    status = "quarantined" if quarantined else "refused"
    assert [row[:2] for row in found] == [
        ("a", "quarantined"),
        (None, "quarantined"),
        ("n\ufffd" + "i" * 1_997 + "…", "quarantined"),
        ("r", status),
        ("s0", "waiting"),
        ("s1", "waiting"),
    ]
    assert found[0][2] == "x: not a whole number: 1.5"
    assert found[1][2] == "id: sample id is missing; x: not a whole number: 2.5"
    assert "\0" not in str(found[2][2])
    assert len(str(found[3][2])) == 4_000
    assert found[4][2] is None


def test_rows_set_aside_are_kept_on_disk_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "GROUP_ROWS", 2)
    bad = check(checker({"x": "integer"}), rows_of(3, x=[0.5] * 3))
    with SetAside() as set_aside:
        set_aside.add(bad)
        path = set_aside._spool.path
        assert path is not None
        set_aside.discard()
        assert not path.exists()
        set_aside.add(bad)
        set_aside.add(bad)
        assert [sample_id for sample_id, _ in set_aside.rows()] == 2 * ["s0", "s1", "s2"]
        path = set_aside._spool.path
        assert path is not None
    assert not path.exists()


# -- when the server's list is read --


def told(client: DeepchecksClient, receipt: Receipt) -> list[tuple[str, str, list[str]]]:
    return [(str(status), reason, list(ids)) for status, reason, ids in when_settled(client, receipt)]


def post(server: LocalServer, version: CreatedVersion, *samples: dict[str, Any]) -> None:
    filled = [
        {"_dc_time": START.isoformat(), "_dc_prediction": 1.0, "f": 1.0, **sample} for sample in samples
    ]
    server.call("POST", f"/model-versions/{version.id}/data", filled)


def test_reasons_of_a_row_are_joined_and_rows_of_a_reason_told_at_once(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    receipt = uploader(client, clock).run(stream(rows(5)))
    wrong = [{"_dc_sample_id": f"bad{n:04}", "f": "text"} for n in range(1_200)]
    post(deepchecks_server, version, *wrong)
    post(deepchecks_server, version, {"_dc_sample_id": "bad0007", "_dc_prediction": "text"}, wrong[7])
    post(deepchecks_server, version, {"_dc_sample_id": "s0"})
    found = told(client, receipt)
    assert {status for status, _, _ in found} == {"refused"}
    assert max(len(ids) for _, _, ids in found) == 500
    reasons: dict[str, list[str]] = {}
    for _, reason, ids in found:
        reasons.setdefault(reason, []).extend(ids)
    both = [reason for reason in reasons if "; " in reason]
    assert [reasons[reason] for reason in both] == [["bad0007"]]
    (one,) = [reason for reason in reasons if reason not in both]
    assert "data.f" in one
    assert "bad" not in one
    assert len(reasons[one]) == 1_199


def test_a_label_that_is_refused_leaves_its_sample_stored(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    both = rows(3, labels=[1.0] * 3)
    receipt = uploader(client, clock, options={"with_labels": True}).run(stream(both))
    bad = [{"_dc_sample_id": "s1", "_dc_label": "x"}]
    deepchecks_server.call("PUT", f"/model/{version.model_id}/labels", bad)
    post(deepchecks_server, version, {"_dc_sample_id": "s3", "f": "text"})
    (first, second) = told(client, receipt)
    assert (first[0], first[2]) == ("refused", ["s3"])
    assert (second[0], second[2]) == ("stored", ["s1"])
    assert second[1].startswith("label: Exception saving label")


def test_a_row_refused_to_another_run_is_stored(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    receipt = uploader(client, clock).run(stream(rows(3)))
    post(deepchecks_server, version, {"_dc_sample_id": "s1", "f": "text"})
    post(deepchecks_server, version, {"_dc_sample_id": "s3", "f": "text"})
    assert [ids for _, _, ids in told(client, receipt)] == [["s3"]]


def test_labels_by_themselves_are_refused(
    version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    uploader(client, clock).run(stream(rows(2)))
    wrong = label_rows(2).set_column(1, "_dc_label", pa.array(["x", "y"]))
    receipt = uploader(client, clock, label_target(client, "m")).run(stream(wrong, kind="labels"))
    assert [(status, ids) for status, _, ids in told(client, receipt)] == [("refused", ["s0", "s1"])]


def test_a_row_sent_twice_and_refused_once_is_stored(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    ahead = datetime.now(UTC) + timedelta(seconds=30)
    receipt = uploader(client, clock).run(stream(rows(2, start=ahead)))
    assert [ids for _, _, ids in told(client, receipt)] == [["s0", "s1"]]
    deepchecks_server.clock.advance(60)
    post(deepchecks_server, version, {"_dc_sample_id": "s0", "_dc_time": ahead.isoformat()})
    assert [ids for _, _, ids in told(client, receipt)] == [["s1"]]


def test_stored_rows_are_read_in_pieces(
    deepchecks_server: LocalServer,
    version: CreatedVersion,
    client: DeepchecksClient,
    clock: FastClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They come with all their columns: those of a whole window would not fit into memory."""
    receipt = uploader(client, clock).run(stream(rows(20)))
    post(deepchecks_server, version, {"_dc_sample_id": "s3", "f": "text"})
    monkeypatch.setattr(observe, "ROWS_AT_ONCE", 6)
    assert list(told(client, receipt)) == []
    asked = [one for one in deepchecks_server.exchanges if one.path.endswith("/get-prod-data")]
    assert len(asked) == 4
