# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Classes of predictions and labels that the version does not know."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_deepchecks.records.casts.cast import Cast, masked, value_problem
from airflow_provider_deepchecks.records.columns import LABEL
from airflow_provider_deepchecks.records.reasons import Array, Mask, Reason

if TYPE_CHECKING:
    from airflow_provider_deepchecks.records.checks.schema import Field

log = logging.getLogger(__name__)

#: Classes that an error lists, or that the log tells of.
_SHOWN = 10


class ClassRule:
    """Which classes a column may hold; one rule lives as long as a run.

    A binary model drops labels of a third class without a trace, a multiclass model takes labels of any class
    (measured on server 0.19.3). Predictions of undeclared classes are stored, and no statistic knows them.

    :param wanted: the column on the wire.
    """

    def __init__(self, wanted: Field) -> None:
        self._wanted = wanted
        self._seen: list[str] = []
        self._told: set[str] = set()

    def check(self, cast: Cast, values: Array, good: Mask) -> Cast:
        """Add the problem of unknown classes.

        :param cast: the classes as text.
        :param values: the source's values.
        :param good: the rows in which nothing else is wrong.
        """
        wanted = self._wanted
        if wanted.classes is None and not wanted.two_classes:
            return cast
        if wanted.classes is None:
            self._learn(cast.values, good)
        known = self._seen if wanted.classes is None else wanted.classes
        unknown = _strangers(cast, known)
        if not unknown.any():
            return cast
        if wanted.open_classes:
            self._tell(cast.values.filter(pa.array(unknown)))
            return cast
        third = wanted.classes is None or (wanted.name == LABEL and len(known) == 2)
        reason = Reason.THIRD_CLASS if third else Reason.UNKNOWN_CLASS
        names = ", ".join(map(repr, known[:_SHOWN])) + (", ..." if len(known) > _SHOWN else "")
        hint = f" (seen so far: {names})" if wanted.classes is None else f" (the version has {names})"
        return Cast(cast.values, cast.problems + value_problem(reason, unknown, values, hint))

    def _learn(self, classes: Array, good: Mask) -> None:
        """The first two classes of the run are taken for the model's."""
        if len(self._seen) < 2:
            sendable = classes if good.all() else classes.filter(pa.array(good))
            names = [name for name in sendable.unique().to_pylist() if name is not None]
            self._seen += [name for name in names if name not in self._seen][: 2 - len(self._seen)]

    def _tell(self, labels: Array) -> None:
        for name in labels.unique().to_pylist():
            if name not in self._told and len(self._told) < _SHOWN:
                self._told.add(name)
                log.warning(
                    "Label %r is none of the declared classes; the server takes it all the same.", name
                )


def _strangers(cast: Cast, known: list[str] | tuple[str, ...]) -> Mask:
    found = pc.is_in(cast.values, value_set=pa.array(known, pa.string()))
    unknown = ~masked(found) & masked(cast.values.is_valid())
    for problem in cast.problems:  # a class that cannot be read is named as such already
        unknown &= ~problem.rows
    return unknown
