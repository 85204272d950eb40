# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Which of the source's columns is what, and the names of the columns of a wire batch."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Keys of a row on the wire (Deepchecks' own names).
SAMPLE_ID = "_dc_sample_id"
SENT_TIME = "_dc_time"
PREDICTION = "_dc_prediction"
PROBABILITIES = "_dc_prediction_probabilities"
LABEL = "_dc_label"
#: Columns of a wire batch that are not sent as they are: the row's number in the source (int64, from 0), and
#: its time (timestamp[us, UTC]), which the encoder writes as ``_dc_time``.
POSITION = "__position"
TIME = "__time"
INTERNAL = frozenset({POSITION, TIME})

#: Columns that a quarantine file has besides those of the source. A corrected quarantine file can be a source
#: again, so they are passed over there.
ROW_POSITION = "_dc_row_position"
ROW_ID = "_dc_row_id"
ROW_REASONS = "_dc_row_reasons"
QUARANTINE_COLUMNS = frozenset({ROW_POSITION, ROW_ID, ROW_REASONS})


@dataclass(frozen=True)
class Columns:
    """The part each of the source's columns plays. All names but the values of ``mapping`` are the source's.

    A column named here is sent as a feature too when the version declares a column of that name.

    :param sample_id: column of the sample ids.
    :param timestamp: column of the sample times; None when the rows have none.
    :param prediction: column of the predictions; None for labels.
    :param prediction_probas: columns of the probabilities, one a class in the order of the sorted classes, or
        a single column that holds lists.
    :param label: column of the labels, None when there are none.
    :param mapping: source's name -> version's name, for columns that are named otherwise there.
    :raises DeepchecksConfigError: a name is empty or no text, or two columns would get the same name.
    """

    sample_id: str
    timestamp: str | None = None
    prediction: str | None = None
    prediction_probas: tuple[str, ...] = ()
    label: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.mapping, Mapping):
            raise DeepchecksConfigError(
                f"column_mapping={self.mapping!r}: give a dict, source's name -> version's name. A template "
                "gives text, unless the DAG has render_template_as_native_obj."
            )
        object.__setattr__(self, "prediction_probas", tuple(self.prediction_probas))
        object.__setattr__(self, "mapping", dict(self.mapping))
        self._check_names()
        doubled = [name for name, times in Counter(self.prediction_probas).items() if times > 1]
        if doubled:
            raise DeepchecksConfigError(f"prediction_probas_columns names {named(doubled)} more than once.")
        targets = [name for name, times in Counter(self.mapping.values()).items() if times > 1]
        if targets:
            raise DeepchecksConfigError(f"column_mapping renames several columns to {named(targets)}.")

    def _check_names(self) -> None:
        single = {"sample_id_column": self.sample_id}
        for role in ("timestamp", "prediction", "label"):
            if (name := getattr(self, role)) is not None:
                single[f"{role}_column"] = name
        given = {setting: [name] for setting, name in single.items()}
        given["prediction_probas_columns"] = list(self.prediction_probas)
        given["column_mapping"] = [*self.mapping, *self.mapping.values()]
        for setting, names in given.items():
            for name in names:
                if not isinstance(name, str):
                    raise DeepchecksConfigError(
                        f"{setting} names {name!r}: give the name of a column as text."
                    )
                if not name and setting in single:
                    raise DeepchecksConfigError(f"{setting} is empty: name a column of the source.")

    def roles(self) -> set[str]:
        """The source's columns that have a part of their own."""
        single = {self.sample_id, self.timestamp, self.prediction, self.label}
        return {name for name in single if name is not None} | set(self.prediction_probas)


def nearest(names: Iterable[str], known: Iterable[str]) -> str:
    """Guesses at misspelt names, as a sentence; empty when there is none.

    :param names: names that do not exist.
    :param known: names that do.
    """
    found = [f"{hint!r} for {name!r}" for name, hint in guesses(names, known).items()]
    return f"Meant {', '.join(found)}?" if found else ""


def guesses(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """What may be meant by misspelt names, for those that are near a known one. Case makes no difference:
    some databases change it.

    :param names: names that do not exist.
    :param known: names that do.
    """
    candidates = {name.casefold(): name for name in sorted(known)}
    hints = {name: difflib.get_close_matches(name.casefold(), candidates, n=1) for name in names}
    return {name: candidates[hint[0]] for name, hint in hints.items() if hint}


def named(names: Iterable[str]) -> str:
    """Names for a message, the first twenty of them.

    :param names: names.
    """
    quoted = [repr(name) for name in names]
    return ", ".join(quoted[:20]) + (f" and {len(quoted) - 20} more" if len(quoted) > 20 else "")
