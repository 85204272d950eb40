# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""From names to ids, by the exact name; a name that is not there is answered with the nearest ones."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from airflow_provider_deepchecks.exceptions import DeepchecksNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_deepchecks.client.types import ModelRef, VersionRef

#: So many names or fewer are all listed.
_ALL = 10
#: Otherwise the nearest so many.
_NEAREST = 5


def find_model(models: Sequence[ModelRef], name: str, server: str) -> ModelRef:
    """The model of that name; a model named ``7`` is not the model with id 7.

    :param server: address of the server, for the message.
    :raises DeepchecksNotFoundError: there is none.
    """
    for model in models:
        if model.name == name:
            return model
    raise DeepchecksNotFoundError(
        f"{server} has no model {name!r} that this token may see. {_nearest(name, (m.name for m in models))}"
    )


def find_version(model: ModelRef, name: str) -> VersionRef:
    """The model's version of that name.

    :raises DeepchecksNotFoundError: there is none.
    """
    for version in model.versions:
        if version.name == name:
            return version
    raise DeepchecksNotFoundError(
        f"Model {model.name!r} has no version {name!r}. {_nearest(name, (v.name for v in model.versions))}"
    )


def _nearest(name: str, names: Iterable[str]) -> str:
    """A sentence with the names that may have been meant."""
    known = sorted(set(names))
    if not known:
        return "There is none at all: create it, or ask for access."
    if len(known) <= _ALL:
        return f"There are: {', '.join(map(repr, known))}."
    lowered = {item.lower(): item for item in known}
    near = [
        lowered[item] for item in difflib.get_close_matches(name.lower(), lowered, n=_NEAREST, cutoff=0.4)
    ]
    if not near:
        return f"None of the {len(known)} is like it."
    return f"Nearest of {len(known)}: {', '.join(map(repr, near))}."
