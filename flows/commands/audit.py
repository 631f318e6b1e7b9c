"""The audit of a version, for people, as JSON and as a page."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from evernorm.errors import EvernormError, StateError
from flows.commands.audit_words import checked_of, verdict_of
from flows.commands.environment import prepare

if TYPE_CHECKING:
    from tasks.audit.report import Report

_STATUS = {"clean": 0, "findings": 1, "incomplete": 2}


def audit_version(
    asked: str, root: Path, as_json: bool, page: Path | None, exported: Path | None = None
) -> int:
    """Audit a version, or the one that an exported bank names, and print what was found; the status says whether anything was.

    Returns:
        0: all is what the records say; 1: something is not; 2: nothing was found, but not all could be checked.
    """
    try:
        report = _audited(asked, root, exported)
        if page is not None:
            from evernorm.files import write_bytes
            from flows.commands.audit_page import page_of

            write_bytes(page.resolve(), page_of(report).encode())
    except EvernormError as error:
        print(f"evernorm: {error}", file=sys.stderr)  # noqa: T201
        return _STATUS["incomplete"]
    if as_json:
        print(report.model_dump_json(indent=2))  # noqa: T201
    else:
        show(report)
    return _STATUS[report.verdict]


def _audited(asked: str, root: Path, exported: Path | None) -> "Report":
    prepare(root)
    if exported is not None:
        from evernorm.export.file import about_exported

        if (named := about_exported(exported)["version"]) is None:
            raise StateError(
                f"{exported} was exported from no registered version, so there is nothing to compare it with"
            )
        asked = str(named)
    from tasks.workspace.workspace import Workspace

    Workspace.open(root)  # before Prefect is imported, which would make its home there
    from tasks.audit.walk import audit

    return audit(root, asked, exported)


def show(report: "Report") -> None:
    """Print a report: what it is about, what was checked, what was found, and the verdict last."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if report.subject is not None:
        subject = report.subject
        aliases = f" ({', '.join(subject.aliases)})" if subject.aliases else ""
        console.print(f"{subject.name} version {subject.version}{aliases}: {', '.join(subject.classes)}")
        console.print(f"run {subject.run or '–'}, commit {subject.commit or '–'}", style="dim")
    for place, numbers in checked_of(report).items():
        console.print(f"{place}: {', '.join(numbers)}")
    for place in dict.fromkeys(finding.place for finding in report.findings):
        console.print(place, style="bold red")
        for finding in report.findings:
            if finding.place == place:
                console.print(f"  {finding.line}", style="red")
    for each in report.unchecked:
        console.print(f"{each.place} could not be checked: {each.why}", style="yellow")
    style = {"clean": "bold green", "findings": "bold red", "incomplete": "bold yellow"}[report.verdict]
    console.print(f"{verdict_of(report)} ({report.seconds:.1f} s)", style=style)
