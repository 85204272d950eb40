# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What is done once, when the waiting for a receipt has ended: on the worker, whoever saw the end."""

from __future__ import annotations

import logging
from contextlib import closing
from itertools import chain, islice
from typing import TYPE_CHECKING

from airflow_provider_deepchecks.delivery.proof.refusals import keep_errors
from airflow_provider_deepchecks.delivery.proof.settlement import State
from airflow_provider_deepchecks.delivery.receipt import Receipt
from airflow_provider_deepchecks.exceptions import (
    DeepchecksError,
    DeepchecksServerError,
    DeepchecksWriteBackError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.delivery.proof.watch import FindPath, Sighting
    from airflow_provider_deepchecks.delivery.proof.write_back import StatusTable

log = logging.getLogger(__name__)


def conclude(
    sighting: Sighting,
    connect: Callable[[], DeepchecksClient],
    find_path: FindPath,
    find_table: Callable[[Mapping[str, str]], StatusTable],
) -> None:
    """Tell why rows did not go in, keep what the server lists about them, and write back what became of each
    row, if the waiting has ended.

    :param sighting: of a receipt.
    :param connect: gives a client.
    :param find_path: opens the receipt's files.
    :param find_table: opens the receipt's status table.
    :raises DeepchecksError: the status table cannot be written; with the outcome, if that is an error.
    """
    if sighting.state not in (State.SETTLED, State.REFUSED, State.LOST, State.STALLED):
        return
    receipt = Receipt.from_dict(sighting.result)
    if sighting.state != State.SETTLED or _refused(receipt):
        _keep_errors(receipt, connect, find_path)
    # Of rows that are lost or stalled nobody knows which they are: they stay as they are, waiting.
    if receipt.write_back is not None and sighting.state in (State.SETTLED, State.REFUSED):
        try:
            _write_back(receipt, find_table(receipt.write_back), connect)
        except DeepchecksError as error:
            outcome = sighting.error()
            if outcome is None:
                raise
            raise DeepchecksWriteBackError(f"{outcome} {error}") from error


def _refused(receipt: Receipt) -> int:
    """Rows and labels that were refused."""
    return receipt.refused + (receipt.labels.refused if receipt.labels is not None else 0)


def _write_back(receipt: Receipt, table: StatusTable, connect: Callable[[], DeepchecksClient]) -> None:
    from airflow_provider_deepchecks.delivery.proof.statuses import when_settled

    if not _refused(receipt):
        table.settle(())
        return
    try:
        told = when_settled(connect(), receipt)
        first = list(islice(told, 1))  # the list is read here, before the database is asked for anything
    except DeepchecksServerError as error:
        raise table.error(str(error)) from error
    with closing(told):
        table.settle(chain(first, told))


def _keep_errors(receipt: Receipt, connect: Callable[[], DeepchecksClient], find_path: FindPath) -> None:
    try:
        path = None if receipt.errors_path is None else find_path(receipt.errors_path)
        keep_errors(connect(), receipt, path)
    except Exception as error:  # whatever it is, the outcome of the wait is the one to see
        log.error("What the server lists about these rows cannot be read: %s", error)
