# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Wait until the rows are really in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_deepchecks.allowance import as_number
from airflow_provider_deepchecks.exceptions import DeepchecksConfigError, DeepchecksError
from airflow_provider_deepchecks.operators.write_back import status_table_of
from airflow_provider_deepchecks.sensors.base import WatchSensor
from airflow_provider_deepchecks.storage import storage_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_deepchecks.delivery.proof.watch import Sighting, Watch

#: Seconds after an upload in which queued rows do not show as pending yet: 2 to 3 measured on server 0.19.3,
#: more behind a loaded broker.
SHORTEST_QUIET = 15.0


class DeepchecksPendingRowsSensor(WatchSensor):
    """Wait until rows are processed by Deepchecks.

    Given a **receipt** (the result of :class:`~airflow_provider_deepchecks.operators.log_batch.\
DeepchecksLogBatchOperator` or of the labels operator), it waits until every row of that receipt is accounted
    for: stored, already stored, or refused within ``max_refused``. Given only a model, or model and version,
    it waits until nothing is pending and it has stayed so over several polls: the server reports 0 pending
    rows before the first row of an upload is in (measured on server 0.19.3), so a single 0 proves nothing.

    Its XCom result is the settled receipt, or the counts last seen. When the rows of a receipt are refused,
    lost or stalled, the log tells how many the server lists for which reason, and its entries are kept in the
    receipt's ``errors_path``. A status table that the upload wrote gets the final status of each row.

    :param receipt: receipt of an upload, usually ``upload.output`` (templated).
    :param model_name: model to watch when no receipt is given (templated).
    :param model_version: version to watch, None for all of the model (templated).
    :param max_refused: rows that the server may refuse after its 200: a count (int) or a share of the rows
        (float, 0.0 to 1.0) (templated).
    :param verify: ``auto`` compares the sample ids themselves where the upload kept them (``ids_path``) and
        the receipt's window holds no more than 50,000 rows, and otherwise the number of rows in the window
        before and after; ``counts`` compares ids only where counts cannot decide; ``ids`` always, up to
        500,000 rows, and lets nothing pass without. Ids name what is missing, and other runs in the same
        window cannot disturb them.
    :param quiet_polls: without a receipt: polls in a row that must see nothing pending.
    :param lost_after: seconds after the upload after which rows that are neither stored nor listed are lost,
        where none is pending.
    :param stall_after: seconds without movement after which pending rows are stalled.
    :param allow_unmatched: label receipts: labels whose sample is not stored (yet) are no failure.
    :param deepchecks_conn_id: Airflow connection, for a receipt that of the upload (templated).
    :param deferrable: wait in the triggerer.
    :raises AirflowFailException: what looking again cannot mend: settings, names, rows refused or lost. With
        ``soft_fail`` refused rows skip, and the others are raised as ``DeepchecksError``, which does not.
    :raises AirflowSensorTimeout: the sensor's ``timeout`` passed.
    :raises DeepchecksError: what it can mend: stalled rows, a server that does not answer.
    """

    template_fields = ("receipt", "model_name", "model_version", "max_refused", "deepchecks_conn_id")
    template_fields_renderers = {"receipt": "json"}

    def __init__(
        self,
        *,
        receipt: Mapping[str, Any] | None = None,
        model_name: str | None = None,
        model_version: str | None = None,
        max_refused: int | float = 0,
        verify: Literal["auto", "counts", "ids"] = "auto",
        quiet_polls: int = 3,
        lost_after: float = 300.0,
        stall_after: float = 900.0,
        allow_unmatched: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.receipt = receipt
        self.model_name = model_name
        self.model_version = model_version
        self.max_refused = max_refused
        self.verify = verify
        self.quiet_polls = quiet_polls
        self.lost_after = lost_after
        self.stall_after = stall_after
        self.allow_unmatched = allow_unmatched

    def _finish(self, sighting: Sighting) -> None:
        if self.receipt is not None:
            from airflow_provider_deepchecks.delivery.proof.outcome import conclude

            try:
                conclude(sighting, self.hook.get_conn, storage_path, status_table_of)
            except DeepchecksError as error:
                self._raise(error, final=not error.retryable)
        super()._finish(sighting)

    def watch(self) -> Watch:
        from airflow_provider_deepchecks.delivery.proof.settlement import SettlementRules
        from airflow_provider_deepchecks.delivery.proof.watch import QuietWatch, ReceiptWatch
        from airflow_provider_deepchecks.delivery.receipt import Receipt

        if (self.receipt is None) == (self.model_name is None):
            raise DeepchecksConfigError(
                "The sensor waits for a receipt or for a model: give exactly one of receipt= and "
                "model_name=. An upload that was skipped leaves no receipt."
            )
        polls = self.quiet_polls
        if isinstance(polls, bool) or not isinstance(polls, int) or polls < 1:
            raise DeepchecksConfigError(f"quiet_polls={polls!r}; it is a number of polls, at least 1.")
        rules = SettlementRules(
            max_refused=as_number(self.max_refused),
            lost_after=self.lost_after,
            stall_after=self.stall_after,
            verify=self.verify,
            allow_unmatched=self.allow_unmatched,
        )
        if self.receipt is not None:
            if self.model_version is not None:
                raise DeepchecksConfigError(
                    "model_version= goes with model_name=; the receipt names its own version."
                )
            receipt = Receipt.from_dict(self.receipt)
            if self.verify == "ids" and receipt.ids_path is None and receipt.waiting:
                raise DeepchecksConfigError(
                    "verify='ids' compares the ids that the upload has kept, and this receipt names no file "
                    "of them: give the upload ids_path=, or settle with verify='auto'."
                )
            return ReceiptWatch(self.receipt, rules)
        assert self.model_name is not None
        quiet_for = max(SHORTEST_QUIET, polls * self.poke_interval)
        return QuietWatch(self.model_name, self.model_version, quiet_for, self.stall_after)
