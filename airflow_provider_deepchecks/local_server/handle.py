# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What one needs to use a running stand-in from outside: address, token, and models to send rows to."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_deepchecks.client.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class CreatedVersion:
    """A version that was made for a test."""

    model: str
    model_id: int
    name: str
    id: int


class Handle:
    """A running Deepchecks server.

    :param url: scheme, host and port.
    :param token: API token.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    @property
    def connection_json(self) -> str:
        """The Airflow connection, as ``AIRFLOW_CONN_DEEPCHECKS_DEFAULT`` takes it."""
        told = {"conn_type": "deepchecks", "host": self.url, "password": self.token}
        # The stand-in speaks plain http, which other machines than this one have to be allowed.
        return json.dumps(told if is_loopback(self.url) else told | {"extra": {"allow_plain_http": True}})

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API.

        :param path: what follows ``/api/v1``.
        :param body: sent as JSON.
        :return: the JSON answer, None for an empty one.
        :raises RuntimeError: when the answer is an error.
        """
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {self.token}", "Content-Type": "application/json"},
        )
        # No proxy: the server is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as response:
                content = response.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: HTTP {error.code} {error.read().decode()}") from None
        return json.loads(content) if content else None

    def create_model(
        self,
        name: str,
        task_type: str,
        *,
        version: str = "v1",
        features: Mapping[str, str],
        additional_data: Mapping[str, str] | None = None,
        classes: Sequence[str] | None = None,
        alerts_delay_labels_ratio: float = 1.0,
        alerts_delay_seconds: int = 259_200,
    ) -> CreatedVersion:
        """Make a model with a version; called again it adds a version to the model.

        :param task_type: regression, binary or multiclass.
        :param features: column -> type.
        :param additional_data: column -> type.
        :param classes: the version's classes, sorted.
        :param alerts_delay_labels_ratio: share of labelled rows that alerts wait for.
        :param alerts_delay_seconds: seconds that alerts wait at most.
        """
        model = {
            "name": name,
            "task_type": task_type,
            "alerts_delay_labels_ratio": alerts_delay_labels_ratio,
            "alerts_delay_seconds": alerts_delay_seconds,
        }
        model_id = self.call("POST", "/models", model)["id"]
        definition = {
            "name": version,
            "features": dict(features),
            "additional_data": dict(additional_data or {}),
            "classes": None if classes is None else list(classes),
        }
        version_id = self.call("POST", f"/models/{model_id}/version", definition)["id"]
        return CreatedVersion(name, model_id, version, version_id)
