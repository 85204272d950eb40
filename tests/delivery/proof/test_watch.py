# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_deepchecks.delivery.proof.settlement import SettlementRules, State
from airflow_provider_deepchecks.delivery.proof.watch import (
    FAILED_LOOKS,
    CoverageWatch,
    Looker,
    QuietWatch,
    ReceiptWatch,
    Sighting,
    watch_from_dict,
)
from airflow_provider_deepchecks.delivery.upload.targets import sample_target
from airflow_provider_deepchecks.exceptions import (
    DeepchecksAuthError,
    DeepchecksConfigError,
    DeepchecksError,
    DeepchecksLostRowsError,
    DeepchecksRefusedRowsError,
    DeepchecksServerError,
    DeepchecksStalledError,
)
from tests.delivery.conftest import START, label_rows, rows, stream, uploader

WATCHES = [
    ReceiptWatch({"format": 1}, SettlementRules(max_refused=0.5, verify="ids", allow_unmatched=True)),
    QuietWatch("m", None, 15.0, 900.0),
    CoverageWatch("m", "v1", 0.0, None, None, 12.5, True),
]


@pytest.mark.parametrize("watch", WATCHES, ids=lambda watch: watch.kind)
def test_watches_travel_as_json(watch):
    assert watch_from_dict(json.loads(json.dumps(watch.to_dict()))) == watch


def test_unknown_watch():
    with pytest.raises(DeepchecksConfigError, match="known: receipt, quiet, coverage"):
        watch_from_dict({"kind": "odd"})


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (State.REFUSED, DeepchecksRefusedRowsError),
        (State.LOST, DeepchecksLostRowsError),
        (State.STALLED, DeepchecksStalledError),
        (Sighting.UNREACHABLE, DeepchecksServerError),
        (Sighting.FAILED, DeepchecksError),
    ],
)
def test_sightings_travel_as_json_and_end_in_errors(state, kind):
    sighting = Sighting(state, "told", {"a": 1}, ("s0",))
    again = Sighting.from_dict(json.loads(json.dumps(sighting.to_dict())))
    assert again == sighting
    error = again.error()
    assert type(error) is kind
    assert str(error) == "told"
    if isinstance(error, DeepchecksRefusedRowsError):
        assert error.sample_ids == ["s0"]


def test_sightings_without_error():
    assert Sighting(State.SETTLED, "").error() is None
    assert Sighting(State.WAITING, "").error() is None
    assert Sighting(State.WAITING, "").waiting


@pytest.mark.parametrize("data", [None, 3, {}, {"state": "odd", "message": ""}, {"state": "settled"}])
def test_no_sighting(data):
    with pytest.raises(DeepchecksServerError, match="without a known outcome"):
        Sighting.from_dict(data)


class Scripted:
    """A watch that ends as told, look by look."""

    kind = "scripted"

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)

    def look(self, client: Any, watched_for: float, find_path: Any) -> Sighting:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def to_dict(self) -> dict[str, Any]:
        return {}


def states(*outcomes: Any) -> list[str]:
    looker = Looker(Scripted(*outcomes))
    return [str(looker.look(None, 0.0).state) for _ in outcomes]  # type: ignore[arg-type]


def test_some_failed_looks_in_a_row_are_borne():
    away, waiting = DeepchecksServerError("away"), Sighting(State.WAITING, "")
    assert states(*[away] * FAILED_LOOKS) == ["waiting"] * (FAILED_LOOKS - 1) + ["unreachable"]
    # One that works starts the count anew.
    assert "unreachable" not in states(*[away] * 4, waiting, *[away] * 4)


def test_what_waiting_cannot_mend_is_raised():
    with pytest.raises(DeepchecksAuthError):
        states(DeepchecksAuthError("no"))


# -- looks at a server -------------------------------------------------------------------------------------


def test_receipt(client, version, clock):
    receipt = uploader(client, clock).run(stream(rows(5)))
    watch = ReceiptWatch(receipt.to_dict(), SettlementRules())
    sighting = watch.look(client, 0.0, str)
    assert sighting.state == State.SETTLED
    assert sighting.result["stored"] == 5
    assert "5 rows read = 5 stored" in sighting.message


def test_another_server_proves_nothing_of_a_receipt(client, version, clock):
    """The same model and rows are there under the same ids."""
    receipt = uploader(client, clock).run(stream(rows(5)))
    elsewhere = replace(receipt, server="https://deepchecks.example.com")
    with pytest.raises(DeepchecksConfigError, match=r"deepchecks\.example\.com.*deepchecks_conn_id"):
        ReceiptWatch(elsewhere.to_dict(), SettlementRules()).look(client, 0.0, str)


def test_receipt_with_ids(client, version, clock, tmp_path):
    """The file of ids is found by the function that is given, which knows the storage."""
    from airflow_provider_deepchecks.delivery.ids import SentIds

    with SentIds() as ids:
        receipt = uploader(client, clock, ids=ids).run(stream(rows(5)))
        ids.save(tmp_path / "ids.parquet")
    kept = {**receipt.to_dict(), "ids_path": "storage://ids", "ids_name": ids.name}
    asked: list[str] = []

    def find(path: str) -> str:
        asked.append(path)
        return str(tmp_path / "ids.parquet")

    sighting = ReceiptWatch(kept, SettlementRules(verify="ids")).look(client, 0.0, find)
    assert sighting.state == State.SETTLED
    assert asked == ["storage://ids"]


def test_quiet(client, version, deepchecks_server):
    watch = QuietWatch("m", "v1", 15.0, 900.0)
    assert watch.look(client, 60.0, str).waiting  # the version is younger than that
    deepchecks_server.clock.advance(60)
    assert watch.look(client, 0.0, str).waiting
    sighting = watch.look(client, 60.0, str)
    assert sighting.state == State.SETTLED
    assert sighting.result == {"model": "m", "version": "v1", "pending_rows": 0}


def test_coverage_of_versions(client, version, clock, deepchecks_server):
    """A model's coverage is that of its versions together; one without samples counts for nothing."""
    deepchecks_server.create_model("m", "regression", version="v2", features={"f": "numeric"})
    uploader(client, clock).run(stream(rows(4)))
    client.send_labels(version.model_id, stream(label_rows(3), kind="labels")().__next__().body, 3)

    def seen(**more: Any) -> Sighting:
        arguments = {
            "model": "m",
            "version": None,
            "start": None,
            "end": None,
            "ratio": 0.75,
            "deadline": None,
            "fail_at_deadline": False,
        }
        return CoverageWatch(**{**arguments, **more}).look(client, 0.0, str)

    assert seen().state == State.SETTLED
    assert seen().result["coverage"] == 0.75
    window = {"start": START.timestamp(), "end": (START + timedelta(seconds=2)).timestamp()}
    assert seen(ratio=1.0, **window).result["samples"] == 2
    # The alert delay of the model has passed since the window: no use in waiting.
    assert seen(ratio=1.0).state == State.SETTLED
    assert seen(ratio=1.0, fail_at_deadline=True).state == State.REFUSED
    future = (START + timedelta(days=36_500)).timestamp()
    assert seen(ratio=1.0, deadline=future).waiting
    # Without samples there is no window whose delay could pass.
    assert seen(version="v2").waiting
    second = uploader(client, clock, sample_target(client, "m", "v2"))
    second.run(stream(rows(4, prefix="other", start=START + timedelta(seconds=10))))
    assert {name: seen().result[name] for name in ("samples", "labeled")} == {"samples": 8, "labeled": 3}
