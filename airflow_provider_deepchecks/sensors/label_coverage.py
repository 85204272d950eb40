# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Wait until enough samples of a window have their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_deepchecks.allowance import as_number
from airflow_provider_deepchecks.exceptions import DeepchecksConfigError
from airflow_provider_deepchecks.moments import moment
from airflow_provider_deepchecks.sensors.base import WatchSensor

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_deepchecks.delivery.proof.watch import Watch


class DeepchecksLabelCoverageSensor(WatchSensor):
    """Wait until a share of a window's samples is labelled, or a deadline passes.

    Deepchecks runs the alerts that need labels once ``alerts_delay_labels_ratio`` of a window is labelled or
    ``alerts_delay_seconds`` have passed, and later labels do not change an alert (Deepchecks documentation).
    Without ``ratio`` and ``deadline`` the sensor waits exactly as long as the model does.

    Its XCom result tells samples, labelled samples and their share.

    :param model_name: model (templated).
    :param model_version: version, None for all of the model (templated).
    :param window_start: first sample time of the window: datetime or ISO 8601 text with an offset, None for
        the oldest sample (templated).
    :param window_end: end of the window, exclusive; None for no end (templated).
    :param ratio: share of samples that must have a label, 0.0 to 1.0; None for the model's own ratio
        (templated).
    :param deadline: when to stop waiting: datetime or ISO 8601 text; None for the model's own delay after the
        window (templated). A window without an end ends with the newest sample: while samples come, that
        deadline moves.
    :param fail_at_deadline: fail when the deadline passes first; otherwise succeed with what there is.
    :param deepchecks_conn_id: Airflow connection (templated).
    :param deferrable: wait in the triggerer.
    :raises AirflowFailException: what looking again cannot mend: settings, names, a deadline with
        ``fail_at_deadline``. With ``soft_fail`` the deadline skips, and the others are raised as
        ``DeepchecksError``, which does not.
    :raises AirflowSensorTimeout: the sensor's ``timeout`` passed.
    :raises DeepchecksError: what it can mend: a server that does not answer.
    """

    model_name: str

    template_fields = (
        "model_name",
        "model_version",
        "window_start",
        "window_end",
        "ratio",
        "deadline",
        "deepchecks_conn_id",
    )

    def __init__(
        self,
        *,
        model_name: str,
        model_version: str | None = None,
        window_start: datetime | str | None = None,
        window_end: datetime | str | None = None,
        ratio: float | None = None,
        deadline: datetime | str | None = None,
        fail_at_deadline: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_name = model_name
        self.model_version = model_version
        self.window_start = window_start
        self.window_end = window_end
        self.ratio = ratio
        self.deadline = deadline
        self.fail_at_deadline = fail_at_deadline

    def watch(self) -> Watch:
        from airflow_provider_deepchecks.delivery.proof.watch import CoverageWatch

        ratio = as_number(self.ratio)
        if ratio is not None and not (isinstance(ratio, int | float) and 0 <= ratio <= 1):
            raise DeepchecksConfigError(f"ratio is {ratio!r}; it is a share of the samples, 0.0 to 1.0.")
        start, end = _epoch("window_start", self.window_start), _epoch("window_end", self.window_end)
        if start is not None and end is not None and start >= end:
            raise DeepchecksConfigError(
                f"window_start={self.window_start!s} is not before window_end={self.window_end!s}: no sample "
                "is in that window."
            )
        return CoverageWatch(
            model=self.model_name,
            version=self.model_version,
            start=start,
            end=end,
            ratio=ratio,
            deadline=_epoch("deadline", self.deadline),
            fail_at_deadline=self.fail_at_deadline,
        )


def _epoch(setting: str, value: datetime | str | None) -> float | None:
    found = moment(setting, value)
    return None if found is None else found.timestamp()
