# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What was measured: a table for people, bench.json for programs."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Goal = tuple[Literal["at least", "at most"], float]


@dataclass
class Results:
    """Numbers by name, with the goal of those that have one."""

    values: dict[str, dict[str, float]] = field(
        default_factory=lambda: {"rows_per_second": {}, "ratios": {}, "peak_rss_mib": {}}
    )
    lines: list[tuple[str, str, str, str]] = field(default_factory=list)

    def rows_per_second(self, name: str, value: float, *, note: str = "") -> None:
        self._add("rows_per_second", name, value, f"{value:,.0f} rows/s", None, note)

    def ratio(self, name: str, value: float, *, goal: Goal | None = None, note: str = "") -> None:
        self._add("ratios", name, value, f"{value:.3f}", goal, note)

    def mebibytes(self, name: str, value: float, *, goal: Goal | None = None, note: str = "") -> None:
        self._add("peak_rss_mib", name, value, f"{value:.1f} MiB", goal, note)

    def left_out(self, name: str, why: str) -> None:
        """Say that a benchmark did not run; its keys are missing."""
        self.lines.append((name, "not measured", "", why))

    def _add(self, group: str, name: str, value: float, text: str, goal: Goal | None, note: str) -> None:
        self.values[group][name] = round(value, 4)
        wanted = ""
        if goal:
            met = value >= goal[1] if goal[0] == "at least" else value <= goal[1]
            wanted = f"{goal[0]} {goal[1]:g}: {'met' if met else 'MISSED'}"
        self.lines.append((name, text, wanted, note))

    def table(self) -> str:
        rows = [("", "measured", "goal", ""), *self.lines]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [
            "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[3]]) for row in rows
        ]
        return "\n".join(line.rstrip() for line in [machine(), *lines])

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.values | {"machine": machine()}, indent=2) + "\n")


def machine() -> str:
    """The machine in one line."""
    name = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as cpuinfo:
        models = [line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")]
    return f"{os.cpu_count()} cores of {models[0] if models else name}, Python {platform.python_version()}"
