# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the client needs to know to reach one Deepchecks server."""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError


@dataclass(frozen=True)
class ClientSettings:
    """Settings of one server.

    :param base_url: scheme, host, port and path prefix, without a trailing slash and without ``/api/v1``.
    :param token: API token; sent as ``Authorization: Basic <token>`` (the literal token, measured).
    :param verify: verify TLS certificates; a string is the path of a CA bundle.
    :param timeout: seconds to wait for an answer.
    :param connect_timeout: seconds to wait for a connection.
    :param retries: how often a reading call (GET) is tried again; sending calls are never repeated blindly.
    """

    base_url: str
    token: str = field(repr=False)
    verify: bool | str = True
    timeout: float = 60.0
    connect_timeout: float = 10.0
    retries: int = 5

    @property
    def host(self) -> str:
        """Host and port, for logs and receipts."""
        return urlsplit(self.base_url).netloc


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine itself."""
    name = (urlsplit(url).hostname or "").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_ca_file(path: str) -> None:
    """Look at a CA file before it is used: the HTTP library's own error looks like a broken connection.

    :raises DeepchecksConfigError: it cannot be read, or holds no certificate.
    """
    try:
        if not os.path.isdir(path):
            ssl.create_default_context(cafile=path)
    except OSError as error:
        raise DeepchecksConfigError(
            f"The CA file {path!r} cannot be used ({error.strerror or error}): give a PEM file that is there "
            "on every worker."
        ) from error
