# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Pending rows and what they do not say (with Kafka only)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.deepchecks import Deepchecks, Version, eventually, label, sample, samples

if TYPE_CHECKING:
    from airflow_provider_deepchecks.local_server import LocalServer

pytestmark = pytest.mark.mode("async")


def watch(deepchecks: Deepchecks, version: Version, stored: int) -> list[tuple[int, int, str]]:
    """(pending rows, stored rows, last update) from now until all rows are there and nothing is pending."""
    seen: list[tuple[int, int, str]] = []

    def look() -> bool:
        entry = deepchecks.connected_version(version)
        state = (entry["n_of_pending_rows"], deepchecks.count(version), entry["last_update_time"])
        if not seen or seen[-1] != state:
            seen.append(state)
        return state[:2] == (0, stored)

    assert eventually(look, deepchecks.patience), seen
    return seen


def test_nothing_is_pending_right_after_the_upload(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    with deepchecks.held():
        deepchecks.upload(version, samples(3))
        assert deepchecks.pending(version) == 0
        assert deepchecks.count(version) == 0
    assert deepchecks.settles(version, stored=3)


def test_pending_rows_fall_in_steps(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    with deepchecks.held():
        deepchecks.upload(version, samples(5_200))
        before = deepchecks.connected_version(version)["last_update_time"]
    seen = watch(deepchecks, version, 5_200)
    pending = [rows for rows, _, _ in seen]
    highest = pending.index(max(pending))
    assert max(pending) > 0
    assert pending[highest:] == sorted(pending[highest:], reverse=True)
    assert all(rows <= 5_200 - 500 for rows in pending)
    # The first rows are there before anything is pending.
    assert all(update == before for rows, _, update in seen[: highest or 1] if rows == 0)
    assert len({update for _, _, update in seen}) > 2


def test_one_poll_shows_no_pending_rows_at_all(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    deepchecks.upload(version, samples(300))
    assert {rows for rows, _, _ in watch(deepchecks, version, 300)} == {0}


def test_model_sums_its_versions(deepchecks: Deepchecks) -> None:
    first, second = deepchecks.version(), deepchecks.version(name="v2")
    for version in (first, second):
        deepchecks.upload(version, [*samples(1_100), sample("ruin", extra="\0")])
    for version in (first, second):
        assert deepchecks.settles(version, stored=1_000)
        assert eventually(lambda version=version: deepchecks.pending(version) == 101, deepchecks.patience)
    deepchecks.fall_silent()
    model = deepchecks.connected_model(first)
    assert (model["n_of_pending_rows"], model["n_of_updating_versions"]) == (202, 2)


def test_lost_last_poll_stays_pending(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    rows = samples(1_200)
    rows[1_100]["extra"] = "a\0b"
    deepchecks.upload(version, rows)
    assert deepchecks.settles(version, stored=1_000)
    assert eventually(lambda: deepchecks.pending(version) == 200, deepchecks.patience)
    deepchecks.fall_silent()
    assert (deepchecks.pending(version), deepchecks.count(version)) == (200, 1_000)
    assert deepchecks.errors(version) == []
    deepchecks.upload(version, [sample("later")])
    assert deepchecks.settles(version, stored=1_001)
    assert eventually(lambda: deepchecks.pending(version) == 0, deepchecks.patience)
    assert deepchecks.count(version) == 1_001


def test_lost_first_poll_leaves_no_trace(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    before = deepchecks.connected_version(version)
    deepchecks.upload(version, [sample("a"), sample("b", extra="a\0b"), sample("c")])
    deepchecks.fall_silent()
    assert deepchecks.connected_version(version) == before
    assert (deepchecks.count(version), deepchecks.errors(version)) == (0, [])


def test_poll_takes_neighbours_of_other_requests_with_it(
    deepchecks: Deepchecks, switches: LocalServer
) -> None:
    version = deepchecks.version()
    with deepchecks.held():
        for rows in (samples(10, "a"), [sample("b", extra="\0")], samples(10, "c")):
            assert deepchecks.upload(version, rows).status_code == 200
    deepchecks.fall_silent()
    assert deepchecks.count(version) == 0


def test_labels_are_never_pending(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    deepchecks.upload(version, samples(1_000))
    assert deepchecks.settles(version, stored=1_000)
    assert eventually(lambda: deepchecks.pending(version) == 0, deepchecks.patience)
    before = deepchecks.connected_version(version)
    with deepchecks.held():
        deepchecks.label(version, [label(f"s{number}", 1.0) for number in range(1_000)])
        assert deepchecks.window(version) == (1_000, 0)
        assert deepchecks.connected_model(version)["n_of_pending_rows"] == 0
    assert deepchecks.labelled(version, 1_000)
    assert deepchecks.connected_version(version) == before


def test_duplicates_across_polls_and_within_one(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    deepchecks.upload(version, [*samples(500), sample("s0"), sample("new"), sample("new")])
    assert deepchecks.settles(version, stored=501, refused=2)
    reasons = {error["error"] for error in deepchecks.errors(version)}
    assert reasons == {"Duplicate index on log for id s0", "Got duplicate sample id: new"}


def test_future_is_judged_when_the_row_is_read(deepchecks: Deepchecks, switches: LocalServer) -> None:
    version = deepchecks.version()
    with deepchecks.held():
        deepchecks.upload(version, [sample(_dc_time=_in_half_a_second())])
        time.sleep(0.6)
    assert deepchecks.settles(version, stored=1)


def _in_half_a_second() -> str:
    from tests.contract.deepchecks import ago

    return ago(seconds=-0.5)


def test_row_over_a_megabyte(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    rows = [sample("a"), sample("b"), sample("c", extra="x" * 2_000_000), sample("d")]
    assert deepchecks.upload(version, rows).status_code == 500
    assert deepchecks.settles(version, stored=2)
    deepchecks.fall_silent()
    assert deepchecks.stored(version).keys() == {"a", "b"}


def test_broker_down(deepchecks: Deepchecks, switches: LocalServer) -> None:
    version = deepchecks.version()
    switches.broker_down = True
    try:
        started = time.monotonic()
        assert deepchecks.upload(version, [sample("a")]).status_code == 500
        assert deepchecks.label(version, [label("a", 1.0)]).status_code == 500
        assert time.monotonic() - started >= 2 * switches.options.broker_timeout
        assert deepchecks.get("/health-check").status_code == 200
    finally:
        switches.broker_down = False
    deepchecks.fall_silent()
    assert deepchecks.count(version) == 0
    deepchecks.upload(version, [sample("b")])
    assert deepchecks.settles(version, stored=1)


def test_poll_lost_without_a_reason(deepchecks: Deepchecks, switches: Any) -> None:
    version = deepchecks.version()
    switches.lose_next_poll()
    deepchecks.upload(version, samples(600))
    assert deepchecks.settles(version, stored=100)
    deepchecks.fall_silent()
    assert (deepchecks.count(version), deepchecks.errors(version), deepchecks.pending(version)) == (
        100,
        [],
        0,
    )
