# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

import pickle

import pytest

from airflow_provider_deepchecks import exceptions
from airflow_provider_deepchecks.exceptions import (
    DeepchecksAnswerTooLargeError,
    DeepchecksAuthError,
    DeepchecksColumnsError,
    DeepchecksConfigError,
    DeepchecksConnectionError,
    DeepchecksError,
    DeepchecksInvalidRowsError,
    DeepchecksLateRowsError,
    DeepchecksLostRowsError,
    DeepchecksMissingConnectionError,
    DeepchecksNotFoundError,
    DeepchecksPayloadTooLargeError,
    DeepchecksRateLimitError,
    DeepchecksRefusedRowsError,
    DeepchecksRequestError,
    DeepchecksServerError,
    DeepchecksSourceError,
    DeepchecksStalledError,
    DeepchecksTimeoutError,
    DeepchecksTLSError,
    DeepchecksUnusableSourceError,
    DeepchecksWriteBackError,
)

FINAL = [
    DeepchecksError("m"),
    DeepchecksConfigError("m"),
    DeepchecksNotFoundError("m"),
    DeepchecksAuthError("m"),
    DeepchecksTLSError("m"),
    DeepchecksRequestError("m", status=400),
    DeepchecksUnusableSourceError("m"),
    DeepchecksColumnsError("m"),
    DeepchecksInvalidRowsError("m", reasons={"no id": 2}),
    DeepchecksLateRowsError("m"),
    DeepchecksRefusedRowsError("m", sample_ids=["a"]),
]
PASSING = [
    DeepchecksMissingConnectionError("sql_conn_id", "warehouse"),
    DeepchecksServerError("m", status=503, retry_after=2.0),
    DeepchecksConnectionError("m", maybe_received=True),
    DeepchecksTimeoutError("m"),
    DeepchecksAnswerTooLargeError("m", status=200),
    DeepchecksPayloadTooLargeError("m"),
    DeepchecksRateLimitError("m", num_saved=4),
    DeepchecksSourceError("m"),
    DeepchecksLostRowsError("m"),
    DeepchecksWriteBackError("m"),
    DeepchecksStalledError("m"),
]


def test_every_error_of_the_module_is_tried_here():
    kinds = {
        kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert {type(error) for error in FINAL + PASSING} == kinds


@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
def test_trying_again_does_not_help(error):
    assert not error.retryable


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_trying_again_may_help(error):
    assert error.retryable


@pytest.mark.parametrize("error", FINAL + PASSING, ids=lambda error: type(error).__name__)
def test_survives_pickling_with_what_it_knows(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_timeout_may_have_been_received_and_tls_was_not():
    assert DeepchecksTimeoutError("m").maybe_received is True
    assert DeepchecksTLSError("m").maybe_received is False


def test_built_in_kin():
    assert isinstance(DeepchecksConfigError("m"), ValueError)
    assert isinstance(DeepchecksNotFoundError("m"), LookupError)
