# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Tests do not leave this machine, but for the server that the contract is to be held against."""

from __future__ import annotations

import sys

import pytest

#: Addresses that belong to nobody (RFC 5737, RFC 3849); nothing here connects to them.
GIVEN, OTHER = "192.0.2.77", "192.0.2.78"


def connect(address: str) -> None:
    sys.audit("socket.connect", None, (address, 443))


@pytest.mark.parametrize("url", [f"https://{GIVEN}", f"http://{GIVEN}:8000/deepchecks"])
def test_only_the_given_server_can_be_reached(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DEEPCHECKS_CONTRACT_HOST", url)
    connect(GIVEN)
    with pytest.raises(RuntimeError, match=f"tried to connect to {OTHER}"):
        connect(OTHER)


def test_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPCHECKS_CONTRACT_HOST", "https://[2001:db8::77]:8443")
    connect("2001:db8::77")
    with pytest.raises(RuntimeError, match="tried to connect"):
        connect("2001:db8::78")


def test_no_server_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPCHECKS_CONTRACT_HOST", raising=False)
    connect("127.0.0.1")
    with pytest.raises(RuntimeError, match="tried to connect"):
        connect(GIVEN)
