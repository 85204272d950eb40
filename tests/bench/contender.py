# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""One way to send the rows, in a process of its own that waits for its turns.

Runs in several environments, so it needs nothing but numpy and pandas until its way is chosen::

    python contender.py official_client http://127.0.0.1:8000 TOKEN rows.npz

For each line on its standard input it sends the rows once and prints the seconds it took.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    # Run as a file: the official client's environment does not have this package.
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.rows import MODEL, VERSION, load

if TYPE_CHECKING:
    from collections.abc import Callable


def official_client(url: str, token: str, rows: tuple[Any, ...]) -> Callable[[], None]:
    """deepchecks-client's ``log_batch``."""
    from deepchecks_client import DeepchecksClient

    version = DeepchecksClient(url, token).get_model_version(MODEL, VERSION)
    ids, data, predictions, times = rows

    def send() -> None:
        version.log_batch(ids, data, predictions, timestamps=times)

    return send


def ours(url: str, token: str, rows: tuple[Any, ...]) -> Callable[[], None]:
    """The hook's ``log_batch``, from the frame to the receipt."""
    import json

    from airflow_provider_deepchecks.hooks.deepchecks import DeepchecksHook

    connection = {"conn_type": "deepchecks", "host": url, "password": token}
    os.environ["AIRFLOW_CONN_DEEPCHECKS_DEFAULT"] = json.dumps(connection)
    ids, data, predictions, times = rows
    hook = DeepchecksHook()

    def send() -> None:
        hook.log_batch(ids, data, predictions, timestamps=times, model_name=MODEL, model_version=VERSION)

    return send


def floor(url: str, token: str, rows: tuple[Any, ...]) -> Callable[[], None]:
    """The fastest encoder found and a POST; nothing is checked."""
    import pyarrow as pa
    import requests

    from airflow_provider_deepchecks.records.chunks.encode import encode_samples
    from airflow_provider_deepchecks.records.columns import PREDICTION, SAMPLE_ID, TIME

    headers = {"Authorization": f"Basic {token}"}
    models = requests.get(f"{url}/api/v1/available-models", headers=headers, timeout=30).json()
    (version,) = [
        version["id"] for model in models if model["name"] == MODEL for version in model["versions"]
    ]
    ids, data, predictions, times = rows

    def send() -> None:
        head = {SAMPLE_ID: pa.array(ids), TIME: pa.array(times * 1_000_000, pa.timestamp("us", tz="UTC"))}
        frame = pa.RecordBatch.from_pandas(data, preserve_index=False)
        features = dict(zip(frame.schema.names, frame.columns, strict=True))
        batch = pa.RecordBatch.from_pydict(head | {PREDICTION: pa.array(predictions)} | features)
        with requests.Session() as session:
            session.headers.update(headers | {"Content-Type": "application/json"})
            for start in range(0, batch.num_rows, 6_000):
                body = encode_samples(batch.slice(start, 6_000))
                session.post(
                    f"{url}/api/v1/model-versions/{version}/data", data=body, timeout=60
                ).raise_for_status()

    return send


def main() -> None:
    name, url, token, path = sys.argv[1:]
    ways = {"official_client": official_client, "ours": ours, "floor": floor}
    # What the libraries print is not for the one who reads the seconds.
    answers, sys.stdout = sys.stdout, sys.stderr
    send = ways[name](url, token, load(Path(path)))
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        send()
        print(time.perf_counter() - start, file=answers, flush=True)


if __name__ == "__main__":
    main()
