"""Result of a run in Python: verdict, report and files, shown as a table in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import BackendMissing, UsageError
from ...core.reading.printable import in_one_line
from ..results.report import Report

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True, repr=False)
class Result:
    """What a run has found.

    Attributes:
        folder: the run's folder, with its report, bits and adversarial images.
        report: the report; None where a build was stopped before verification.
    """

    folder: Path
    report: Report | None

    @property
    def verdict(self) -> str | None:
        """`pass`, `fail`, `inconclusive`, or `measured` where no gate was asked for; None without a report."""
        return None if self.report is None else self.report.data["verdict"]

    @property
    def exit_code(self) -> int:
        """The exit code of the command line: the verdict's, or 0 for a build that was stopped early."""
        return 0 if self.report is None else self.report.exit_code

    @property
    def data(self) -> Mapping[str, Any]:
        """The content of `report.json`; nothing without a report."""
        return {} if self.report is None else self.report.data

    @property
    def subjects(self) -> Sequence[Mapping[str, Any]]:
        """The report's entries: teacher, student, then every engine; of `verify` the surrogate is none."""
        return self.data.get("subjects", ())

    def to_pandas(self) -> pd.DataFrame:
        """One row a subject and sample.

        Returns:
            A frame of the columns `subject`, `row` (in the data set's own order), `label`, `clean` (whether the clean
            image is answered rightly), `robust` (whether it withstood everything) and `broken_by` (the route, in the
            report's order, that it fell to; missing where it is robust, or wrong to begin with).

        Raises:
            BackendMissing: pandas is not installed.
            UsageError: the folder holds another run by now, or an altered one.
        """
        try:
            import pandas as pd
        except ImportError:
            raise BackendMissing("to_pandas: pandas is not installed; pip install 'edgeproof[notebook]'") from None
        return pd.concat([pd.DataFrame(columns) for columns in self._samples()], ignore_index=True)

    def adversarial(self, subject: str | None = None) -> dict[str, NDArray[Any]]:
        """The pack of a subject: every image that an attack ended on, whether it fooled the model or not.

        Args:
            subject: its name; the only engine where left out.

        Returns:
            `adversarial` and `clean` `[M, C, H, W]` in [0, 1], and by each of them `index` (the sample's row), `label`,
            `attack`, and `robust`: whether the sample withstood everything.

        Raises:
            UsageError: there is no such subject, or several; or the folder holds another run by now.
        """
        engines = [each["name"] for each in self.subjects if each["kind"] == "engine"]
        if subject is None and len(engines) != 1:
            raise UsageError(f"adversarial: say which subject: {', '.join(engines) or 'there is no engine'}")
        return self._arrays(f"adversarial/{engines[0] if subject is None else subject}.npz")

    def _samples(self) -> Iterator[dict[str, Any]]:
        import numpy as np

        for subject in self.subjects:
            bits = self._arrays(f"verification/{subject['name']}.npz")
            routes = [name for name in (subject.get("routes") or subject.get("attacks") or {}) if name in bits]
            standing, broken_by = bits["clean_correct"], np.full(len(bits["index"]), None, object)
            for route in routes:
                broken_by[standing & ~bits[route]] = route
                standing = standing & bits[route]
            yield {
                "subject": subject["name"],
                "row": bits["index"],
                "label": bits["label"],
                "clean": bits["clean_correct"],
                "robust": standing,
                "broken_by": broken_by,
            }

    def _arrays(self, path: str) -> dict[str, NDArray[Any]]:
        """Arrays of the folder, as long as it holds this very run."""
        from ..results.finished_run import finished_report

        if finished_report(self.folder).data != self.data:
            raise UsageError(f"{self.folder}: holds another run by now; give each one an `out` of its own")
        found = None if self.report is None else Report.load(self.folder / "report.json").files.arrays(path)
        if found is None:
            raise UsageError(f"{self.folder / path}: no such file")
        return found

    def __repr__(self) -> str:
        """One line: verdict, figures of every subject, folder."""
        name = type(self).__name__
        if self.report is None:
            return f"{name}(not verified, folder={str(self.folder)!r})"
        columns, rows = self._ledger(self.report)
        figures = "; ".join(
            ", ".join([row[0], *(f"{head} {cell}" for head, cell in zip(columns[1:], row[1:], strict=True) if cell)])
            for row in rows
        )
        reasons = "; ".join(self.data["reasons"])
        said = f"{self.verdict} ({reasons})" if reasons else self.verdict
        return in_one_line(f"{name}({said}: {figures}; folder={str(self.folder)!r})")

    def _repr_html_(self) -> str:
        """The terminal's report as a table: ledger, gates, what was done, what speaks against it, the verdict."""
        if self.report is None:
            return f"<p>{escape(repr(self))}</p>"
        from ...stages.verify.effort import weaker
        from .rows import GATE_COLUMNS, attack_note, gate_rows, headline, warnings

        report = self.report
        parts = [f"<p><b>{_shown(report.data['name'])}: {_shown(headline(report))}</b></p>"]
        parts.append(_table(*self._ledger(report)))
        if report.data["gates"]:
            parts.append(_table(GATE_COLUMNS, gate_rows(report)))
        parts.append(f"<p><small>{_shown(attack_note(report))}</small></p>")
        if less := list(weaker(report.data.get("verify", {}))):
            parts.append(f"<p><small>Weaker than the standard attacks: {_shown(', '.join(less))}.</small></p>")
        if found := warnings(report):
            parts.append("".join(["<ul>", *(f"<li>{_shown(line)}</li>" for line in found), "</ul>"]))
        return f"<div>{''.join(parts)}</div>"

    @staticmethod
    def _ledger(report: Report) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        from .rows import ledger

        return ledger(report)


def _shown(text: object) -> str:
    return escape(in_one_line(text))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{_shown(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_shown(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
