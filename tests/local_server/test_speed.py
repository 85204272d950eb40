# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The stand-in must not be what a test or a demo waits for."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from airflow_provider_deepchecks.local_server import LocalServer

#: Rows a second it takes at least, with 20 features: about 20,000 were measured (real server: 2,000).
ROWS_PER_SECOND = 5_000


def test_uploads_of_20_features(deepchecks_server: LocalServer) -> None:
    features = {f"f{number}": "numeric" for number in range(10)} | {
        f"i{number}": "integer" for number in range(4)
    }
    features |= {f"c{number}": "categorical" for number in range(5)} | {"b": "boolean"}
    version = deepchecks_server.create_model("delays", "regression", features=features)
    chance = random.Random(0)
    values = {
        "numeric": chance.random,
        "integer": lambda: 7,
        "categorical": lambda: "abc",
        "boolean": lambda: True,
    }
    rows = [
        {
            "_dc_sample_id": f"s{number}",
            "_dc_time": "2026-01-01T00:00:00+00:00",
            "_dc_prediction": 1.5,
            **{name: values[kind]() for name, kind in features.items()},
        }
        for number in range(20_000)
    ]
    bodies = [json.dumps(rows[start : start + 5_000]).encode() for start in range(0, len(rows), 5_000)]
    headers = {"Authorization": f"Basic {deepchecks_server.token}", "Content-Type": "application/json"}
    url = f"{deepchecks_server.url}/api/v1/model-versions/{version.id}/data"
    # CPU time of this process, client and server together: other work on the machine does not count.
    started = time.process_time()
    for body in bodies:
        assert httpx.post(url, content=body, headers=headers, timeout=60).status_code == 200
    seconds = time.process_time() - started
    assert len(deepchecks_server.stored("delays", "v1")) == len(rows)
    assert len(rows) / seconds > ROWS_PER_SECOND
