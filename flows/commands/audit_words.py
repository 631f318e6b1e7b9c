"""An audit in words, the same in the terminal and on the page."""

from typing import TYPE_CHECKING

from rich.filesize import decimal

from evernorm.words import counted

if TYPE_CHECKING:
    from tasks.audit.report import Report


def checked_of(report: "Report") -> dict[str, list[str]]:
    """What was checked in each place, in words."""
    words: dict[str, list[str]] = {}
    for each in report.checked:
        what = each.what.removesuffix("s") if each.number == 1 else each.what
        said = decimal(each.number) if each.what == "bytes" else f"{each.number:,} {what}"
        words.setdefault(each.place, []).append(said)
    return words


def verdict_of(report: "Report") -> str:
    """The verdict, in words."""
    match report.verdict:
        case "clean":
            return "clean: all is what the records say"
        case "incomplete":
            return "no findings, but not all could be checked"
    number = len(report.findings)
    return counted(number, "finding") + ("; not all could be checked" if report.unchecked else "")
