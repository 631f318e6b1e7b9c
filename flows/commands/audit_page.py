"""The report of an audit as one self-contained HTML page."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import zip_longest
from string import Template
from typing import TYPE_CHECKING

from rich.filesize import decimal

from evernorm.words import figure, minute
from flows.commands.audit_drawing import drawing_of
from flows.commands.audit_words import checked_of, verdict_of

if TYPE_CHECKING:
    from tasks.audit.report import Report

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body class="$verdict">
<header>
<h1>$title</h1>
<p class="verdict">$said</p>
</header>
<main>
$facts
$parts
</main>
</body>
</html>
""")
_STYLE = """
:root { --ink: #1d2733; --soft: #5b6875; --line: #d5dbe1; --good: #2e7d4f; --bad: #b3261e; --open: #9a6700 }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 32px 28px 56px; max-width: 1180px; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
header { display: flex; flex-wrap: wrap; gap: 8px 20px; align-items: center; justify-content: space-between }
h1 { margin: 0; font-size: 25px; font-weight: 650; letter-spacing: -.01em }
h2 { margin: 36px 0 10px; font-size: 17px; font-weight: 650 }
h3 { margin: 18px 0 4px; font-size: 14px; font-weight: 600; color: var(--bad) }
.verdict { margin: 0; padding: 5px 14px; border-radius: 999px; font-weight: 600; color: #fff; background: var(--open) }
.clean .verdict { background: var(--good) }
.findings .verdict { background: var(--bad) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 20px; margin: 20px 0 0 }
dt { color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere }
code, td.hash, svg text { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 13px }
.aligned table { table-layout: fixed }
table { width: 100%; border-collapse: collapse; font-size: 14px }
th { padding: 4px 14px 4px 0; text-align: left; font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--line) }
td { padding: 5px 14px 5px 0; vertical-align: top; border-bottom: 1px solid #edf0f3; overflow-wrap: anywhere }
td.short, td.hash { white-space: nowrap; overflow-wrap: normal }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
tr:target td { background: #fdecea }
svg { display: block; width: 100%; height: auto; margin-top: 4px }
svg line { stroke: #8f9ba7; stroke-width: 1.4 }
svg marker path { fill: #8f9ba7 }
svg rect { fill: #f6f9f7; stroke: #a9c6b5; stroke-width: 1.2 }
svg text { font-size: 11px; fill: var(--soft) }
svg .title, svg .name { font-family: inherit; font-size: 13px; font-weight: 600; fill: var(--ink) }
svg .gone rect { fill: #fff; stroke: var(--line); stroke-dasharray: 4 3 }
svg .bad rect { fill: #fdecea; stroke: var(--bad); stroke-width: 2 }
svg .bad .title { fill: var(--bad) }
svg circle { fill: var(--bad) }
svg .badge { fill: #fff; font-weight: 600; text-anchor: middle }
@page { size: A4; margin: 14mm }
@media print {
  body { max-width: none; padding: 0; font-size: 12px; -webkit-print-color-adjust: exact; print-color-adjust: exact }
  table { font-size: 10.5px }
  td.hash { font-size: 9.5px }
  h2 { margin-top: 22px }
  svg { max-height: 215mm }
  tr, svg, h2, h3 { break-inside: avoid }
  h2, h3 { break-after: avoid }
}
"""


def page_of(report: "Report") -> str:
    """The page: verdict, figures, promotions, lineage, findings, what was checked, every hash on record, parameters."""
    subject = report.subject
    what = f"{subject.name} version {subject.version}" if subject else f"“{report.asked}”"
    parts = [
        _section("Images at fault", _images_at_fault(report)),
        _section("Figures", _figures(report)),
        _section("Champion", _promotions(report)),
        _section("Lineage", drawing_of(report)),
        _section("Findings", _findings(report)),
        _section("Could not be checked", _unchecked(report)),
        _section("Checked", _checked(report)),
        _section("On record", _record(report)),
        _section("Parameters", _params(report)),
    ]
    return _PAGE.substitute(
        title=escape(f"Audit of {what}"),
        style=_STYLE,
        verdict=report.verdict,
        said=escape(verdict_of(report)),
        facts=_facts(report),
        parts="\n".join(parts),
    )


def _facts(report: "Report") -> str:
    facts = {"audited": f"{report.at}, {report.seconds:.1f} s"}
    if (subject := report.subject) is not None:
        facts |= {
            "aliases": ", ".join(subject.aliases) or "none",
            "classes": ", ".join(subject.classes) or "none on record",
            "MLflow run": subject.run or "none on record",
            "Git commit": subject.commit or "none on record",
            "dvc.lock, SHA-256": subject.dvc_lock or "none on record",
        }
    listed = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items())
    return f"<dl>{listed}</dl>"


def _images_at_fault(report: "Report") -> str:
    """The images that are not what was learned, by name; each is a finding below too."""
    from evernorm.data.image import SUFFIXES

    image = re.compile(
        rf"data/[^\s,():]+/[^,():]+?(?:{'|'.join(map(re.escape, sorted(SUFFIXES, reverse=True)))})",
        re.IGNORECASE,
    )
    told = [f"{finding.what} {finding.found}" for finding in report.findings]
    images = {path: None for text in told for path in image.findall(text)}
    return "".join(f"<p><code>{escape(path)}</code></p>" for path in images)


def _figures(report: "Report") -> str:
    rows = [
        ("", [("", name), *(("number", figure(value)) for _, value in figures)])
        for name, figures in (report.about.figures.items() if report.about else ())
    ]
    heads = ("class", "image AUROC", "pixel AP", "false alarms", "found")
    return _table(heads, rows) if rows else ""


def _promotions(report: "Report") -> str:
    rows = [
        (
            "",
            [
                ("short", minute(each.at)),
                ("short", each.what),
                ("short", f"{each.before} → {each.after}"),
                ("", each.by),
                ("", each.why),
            ],
        )
        for each in (report.about.promotions if report.about else ())
    ]
    return _table(("when (UTC)", "what", "champion", "by", "why"), rows) if rows else ""


def _params(report: "Report") -> str:
    params = report.about.params if report.about else {}
    rows = [("", [("", name), ("", value)]) for name, value in params.items()]
    return _table(("parameter", "value"), rows) if rows else ""


def _findings(report: "Report") -> str:
    if not report.findings:
        return "<p>None.</p>"
    numbered = list(enumerate(report.findings, 1))
    parts = []
    for place in dict.fromkeys(finding.place for finding in report.findings):
        rows = [
            (f"finding-{number}", [("", finding.what), ("", finding.found), ("", finding.expected)])
            for number, finding in numbered
            if finding.place == place
        ]
        parts.append(f"<h3>{escape(place)}</h3>{_table(('where', 'found', 'expected'), rows)}")
    return f'<div class="aligned">{"".join(parts)}</div>'


def _unchecked(report: "Report") -> str:
    rows = [("", [("", each.place), ("", each.why)]) for each in report.unchecked]
    return _table(("place", "why"), rows) if rows else ""


def _checked(report: "Report") -> str:
    rows = [("", [("", place), ("", ", ".join(numbers))]) for place, numbers in checked_of(report).items()]
    return _table(("place", "what"), rows) if rows else ""


def _record(report: "Report") -> str:
    rows = []
    for node in report.lineage:
        step = node.name
        for direction, outs in (("in", node.inputs), ("out", node.outputs)):
            for out in outs:
                files = f"{out.files:,}" if out.files is not None else "1"
                size = decimal(out.size) if out.size is not None else ""
                cells = [("", step), ("short", direction), ("", out.path), ("hash", out.md5)]
                rows.append(("", [*cells, ("number", files), ("number", size)]))
                step = ""
    return _table(("step", "", "path", "DVC's hash", "files", "size"), rows) if rows else ""


def _table(heads: Iterable[str], rows: Iterable[tuple[str, Sequence[tuple[str, str]]]]) -> str:
    """A table; a row has an id, which may be empty, and cells of a class, which may be empty, and a text."""
    rows = list(rows)
    kinds = [kind for kind, _ in rows[0][1]] if rows else []
    head = "".join(
        f'<th class="number">{escape(each)}</th>' if kind == "number" else f"<th>{escape(each)}</th>"
        for each, kind in zip_longest(heads, kinds)
    )
    body = []
    for name, cells in rows:
        filled = "".join(
            f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"
            for kind, text in cells
        )
        body.append(f'<tr id="{name}">{filled}</tr>' if name else f"<tr>{filled}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""
