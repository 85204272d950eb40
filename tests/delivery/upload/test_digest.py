# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

import itertools
import random

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_deepchecks.delivery.upload.digest import PrefixDigest
from tests.delivery.conftest import label_rows, rows


def digest(*batches: pa.RecordBatch) -> str:
    found = PrefixDigest()
    for batch in batches:
        found.add(batch)
    return found.hexdigest()


@given(cuts=st.lists(st.integers(0, 50), max_size=6))
def test_batch_borders_leave_no_trace(cuts: list[int]) -> None:
    whole = rows(50)
    edges = [0, *sorted(cuts), 50]
    parts = [whole.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    assert digest(*parts) == digest(whole)


def test_dictionaries_and_large_strings_are_the_same_ids() -> None:
    plain = rows(20)
    ids = plain.column("_dc_sample_id")
    for other in (ids.dictionary_encode(), ids.cast(pa.large_string())):
        assert digest(plain.set_column(0, "_dc_sample_id", other)) == digest(plain)


def test_order_ids_and_times_matter_and_features_do_not() -> None:
    first = digest(rows(20))
    shuffled = list(range(20))
    random.Random(1).shuffle(shuffled)
    assert digest(rows(20).take(shuffled)) != first
    assert digest(rows(20, prefix="t")) != first
    assert digest(rows(20, first=1)) != first
    assert digest(rows(19)) != first
    features = pa.array([0.0] * 20)
    assert digest(rows(20).set_column(3, "f", features)) == first


def test_ids_do_not_run_into_each_other() -> None:
    def of(*ids: str) -> str:
        return digest(pa.record_batch({"_dc_sample_id": pa.array(ids)}))

    assert of("ab", "c") != of("a", "bc")


def test_the_digest_is_the_same_tomorrow() -> None:
    """A retry may run on another machine, in another process."""
    assert digest(rows(3)) == "3:f943daeede5edd7791efee4ed9aa9f2e"
    assert digest(label_rows(3)) != digest(rows(3))


def test_a_label_that_has_changed_is_noticed() -> None:
    """The last write of a label wins, so a retry must not go on after the old one."""
    assert digest(label_rows(3, value=1.0)) != digest(label_rows(3, value=2.0))
    assert digest(rows(3, labels=[1.0, None, 0.0])) != digest(rows(3, labels=[1.0, 0.0, 0.0]))
    texts = [
        pa.record_batch({"_dc_sample_id": ["a", "b"], "_dc_label": pa.array(names, pa.string())})
        for names in (["x", "yz"], ["xy", "z"], ["x", None], ["x", ""])
    ]
    assert len({digest(batch) for batch in texts}) == len(texts)


def test_no_rows() -> None:
    assert digest() == digest(rows(0))
