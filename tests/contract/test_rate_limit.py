# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows per clock minute."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from tests.contract.deepchecks import Deepchecks, label, sample, samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from airflow_provider_deepchecks.local_server import LocalServer

#: The limit the stand-in gets, and the one the server of the recordings had.
LIMIT = 100

#: Limits of a real server that these tests can use up in a minute, and divide by ten.
TESTABLE = range(10, 1_001, 10)


@dataclass(frozen=True)
class Limit:
    """The limit of a server at the beginning of a fresh minute, and how to come to the next one."""

    rows: int
    next_minute: Callable[[], None]

    def share(self, percent: int) -> int:
        """A part of the limit, in rows."""
        return self.rows * percent // 100

    def assert_exceeded(self, answer: httpx.Response, saved: int, what: str = "rows") -> None:
        """Check the answer to a request of which only the first rows were taken."""
        message = f"Rate limit exceeded, you can send {self.rows} {what} per minute"
        message += f". {saved} first {what} were received" if saved else ""
        assert answer.status_code == 413
        assert answer.json() == {"error_message": message, "additional_information": {"num_saved": saved}}
        assert "Retry-After" not in answer.headers
        assert parsedate_to_datetime(answer.headers["Date"]).tzinfo is not None


@pytest.fixture
def limit(deepchecks: Deepchecks) -> Iterator[Limit]:
    """A small limit: the stand-in is given one, a real server has to have one."""
    server = deepchecks.switches
    if server is None:
        rows = deepchecks.get("/organization/available-features").json()["rows_per_minute"]
        if rows not in TESTABLE:
            pytest.skip(f"the server takes {rows:,} rows a minute: not tested above 1,000")
        next_minute(deepchecks)
        yield Limit(rows, lambda: next_minute(deepchecks))
        return
    before = server.rows_per_minute
    server.clock.go_to_second(0)
    server.rows_per_minute = LIMIT
    yield Limit(LIMIT, lambda: server.clock.go_to_second(0))
    server.rows_per_minute = before
    server.clock.offset = 0


def next_minute(deepchecks: Deepchecks) -> None:
    """Wait for the next minute of a real server's clock."""

    def minute() -> int:
        return parsedate_to_datetime(deepchecks.get("/health-check").headers["Date"]).minute

    now = minute()
    while minute() == now:
        time.sleep(0.2)


def test_the_limit_is_told(deepchecks: Deepchecks, switches: LocalServer, limit: Limit) -> None:
    features = deepchecks.get("/organization/available-features").json()
    assert features["rows_per_minute"] == limit.rows == switches.rows_per_minute


def test_first_rows_are_kept(deepchecks: Deepchecks, limit: Limit) -> None:
    version = deepchecks.version()
    first, kept = limit.share(60), limit.share(40)
    assert deepchecks.upload(version, samples(first)).status_code == 200
    limit.assert_exceeded(deepchecks.upload(version, samples(first, "t")), kept)
    limit.assert_exceeded(deepchecks.upload(version, samples(10, "u")), 0)
    assert deepchecks.settles(version, stored=limit.rows)
    assert {f"t{number}" for number in range(kept)} < deepchecks.stored(version).keys()
    limit.next_minute()
    assert deepchecks.upload(version, samples(limit.share(10), "u")).status_code == 200
    limit.assert_exceeded(deepchecks.upload(version, samples(limit.share(150), "v")), limit.share(90))
    assert deepchecks.settles(version, stored=2 * limit.rows)


def test_more_than_a_minute_at_once(deepchecks: Deepchecks, limit: Limit) -> None:
    version = deepchecks.version()
    limit.assert_exceeded(deepchecks.upload(version, samples(limit.share(150))), limit.rows)
    assert deepchecks.settles(version, stored=limit.rows)


def test_versions_and_labels_share_the_limit(deepchecks: Deepchecks, limit: Limit) -> None:
    first, second = deepchecks.version(), deepchecks.version(name="v2")
    assert deepchecks.upload(first, samples(limit.share(30))).status_code == 200
    assert deepchecks.upload(second, samples(limit.share(30))).status_code == 200
    labels = [label(f"s{number}", 1.0) for number in range(limit.share(60))]
    limit.assert_exceeded(deepchecks.label(first, labels), limit.share(40), "labels")
    limit.assert_exceeded(deepchecks.label(first, labels), 0, "labels")
    limit.assert_exceeded(deepchecks.upload(first, samples(1, "t")), 0)


def test_refused_rows_count(deepchecks: Deepchecks, limit: Limit) -> None:
    version = deepchecks.version()
    # Not more than one page of the list holds.
    refused = min(limit.share(90), 300)
    bad = [sample(f"b{number}", f_num="x") for number in range(refused)]
    left = limit.rows - refused
    assert deepchecks.upload(version, bad).status_code == 200
    limit.assert_exceeded(deepchecks.upload(version, samples(2 * left)), left)
    assert deepchecks.settles(version, stored=left, refused=refused)


def test_kept_rows_are_still_checked(deepchecks: Deepchecks, limit: Limit) -> None:
    version = deepchecks.version()
    refused = min(limit.share(50), 300)
    rows = [
        sample(f"s{number}", f_num="x" if number < refused else 1.0) for number in range(limit.share(150))
    ]
    limit.assert_exceeded(deepchecks.upload(version, rows), limit.rows)
    assert deepchecks.settles(version, stored=limit.rows - refused, refused=refused)


def test_reference_rows_do_not_count(deepchecks: Deepchecks, limit: Limit) -> None:
    version = deepchecks.version()
    limit.assert_exceeded(deepchecks.upload(version, samples(limit.share(150))), limit.rows)
    columns = ["_dc_prediction", "f_num", "f_int", "f_cat", "f_bool"]
    table = json.dumps({"columns": columns, "data": [[1.5, 0.5, 3, "a", True]]})
    path = f"/model-versions/{version.id}/reference"
    answer = deepchecks.client.post(path, files={"batch": ("upload", table.encode())})
    assert answer.status_code == 200


def test_minute_is_that_of_the_server_clock(
    deepchecks: Deepchecks, switches: LocalServer, limit: Limit
) -> None:
    version = deepchecks.version()
    switches.clock.go_to_second(50)
    assert deepchecks.upload(version, samples(limit.rows)).status_code == 200
    limit.assert_exceeded(deepchecks.upload(version, samples(1, "t")), 0)
    switches.clock.advance(10)
    assert deepchecks.upload(version, samples(limit.rows, "t")).status_code == 200
