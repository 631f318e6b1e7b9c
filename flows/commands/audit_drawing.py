"""The lineage of a version as SVG: a row a class, its stages in their order, then model, version, run, commit."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from rich.filesize import decimal

from evernorm.files import START
from evernorm.words import counted

if TYPE_CHECKING:
    from tasks.audit.report import Report, Subject

_COLUMNS = ("data", "masks", "prompts", "knowledge", "weibull", "features", "evaluate")
_TITLES = {"data": "image data", "features": "test features", "evaluate": "evaluation"}
_ENDS = ("model", "version", "run", "commit")  # below, from right to left
_WIDTH, _HEIGHT, _GAP, _ROW = 152, 62, 34, 104
_LEFT, _TOP = 2, 24
_LETTERS = 20  # of the small type in a box


def drawing_of(report: "Report") -> str:
    """Inline SVG; a node that a finding concerns is red, tells of it, and leads to it."""
    if report.subject is None:
        return ""
    classes = report.subject.classes
    width = len(_COLUMNS) * (_WIDTH + _GAP) - _GAP + 2 * _LEFT
    height = _TOP + (len(classes) + 1) * _ROW - (_ROW - _HEIGHT) + 8
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Lineage of the version">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z"/></marker></defs>',
        *_edges(len(classes), _carried(report)),
        *_rows(report, classes),
        *_ends(report, report.subject),
        "</svg>",
    ]
    return "\n".join(parts)


def _rows(report: "Report", classes: Sequence[str]) -> Iterator[str]:
    for row, name in enumerate(classes):
        yield f'<text class="name" x="{_LEFT}" y="{_top(row) - 8}">{escape(name)}</text>'
        for column, stage in enumerate(_COLUMNS):
            node = f"data/{name}" if stage == "data" else f"{stage}@{name}"
            yield _box(report, node, _TITLES.get(stage, stage), _made(report, node), column, row)


def _ends(report: "Report", subject: "Subject") -> Iterator[str]:
    aliases = ", ".join(subject.aliases) or "no alias"
    said = {
        "model": ("model", _made(report, "model")),
        "version": (f"version {subject.version}", [subject.name, aliases]),
        "run": ("MLflow run", [subject.run[:12], f"with {subject.classes[-1]}" if subject.classes else ""]),
        "commit": ("Git commit", [subject.commit[:12], f"dvc.lock {subject.dvc_lock[:10]}"]),
    }
    for place, node in enumerate(_ENDS):
        title, lines = said[node]
        yield _box(report, node, title, lines, len(_COLUMNS) - 1 - place, len(subject.classes))


def _box(report: "Report", node: str, title: str, lines: list[str], column: int, row: int) -> str:
    x, y = _left(column), _top(row)
    found = [number for number, finding in enumerate(report.findings, 1) if node in finding.nodes]
    known = lines and any(lines)
    kind = "bad" if found else "good" if known else "gone"
    text = [f'<text class="title" x="{x + 12}" y="{y + 20}">{escape(title)}</text>']
    for line, content in enumerate(lines if known else ["not on record"]):
        text.append(f'<text x="{x + 12}" y="{y + 37 + 15 * line}">{escape(_short(content))}</text>')
    box = f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
    if not found:
        return f'<g class="{kind}">{box}{"".join(text)}</g>'
    told = "\n".join(f"{f.place} {f.line}" for f in report.findings if node in f.nodes)
    badge = (
        f'<circle cx="{x + _WIDTH - 16}" cy="{y + 16}" r="10"/>'
        f'<text class="badge" x="{x + _WIDTH - 16}" y="{y + 20}">{len(found)}</text>'
    )
    return (
        f'<a href="#finding-{found[0]}"><g class="{kind}"><title>{escape(told)}</title>'
        f"{box}{''.join(text)}{badge}</g></a>"
    )


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def _made(report: "Report", node: str) -> list[str]:
    """The hash of what a node made, and how much that is."""
    outputs = next((each.outputs for each in report.lineage if each.name == node), ())
    if not outputs:
        return []
    # Two stages have more outputs than the one they are drawn for.
    main = next((out for out in outputs if out.path.endswith(("/weibull", "/evaluation"))), outputs[0])
    files = sum(out.files or 1 for out in outputs)
    size = decimal(sum(out.size or 0 for out in outputs))
    return [main.md5.removesuffix(".dir")[:12], f"{counted(files, 'file')}, {size}"]


def _carried(report: "Report") -> list[str]:
    """Stages of which a class hands something to the next: its state only where the method's are linked."""
    needed = {
        each.path for node in report.lineage if node.name.startswith("knowledge@") for each in node.inputs
    }
    linked = {path for path in needed if path.endswith("/carry")} - {f"bank/{START}/carry"}
    return ["weibull", "evaluate"] if linked else ["evaluate"]


def _edges(classes: int, carried: Sequence[str]) -> Iterator[str]:
    middle = _HEIGHT // 2
    for row in range(classes):
        for column in range(len(_COLUMNS) - 1):
            y = _top(row) + middle
            yield _arrow(_left(column) + _WIDTH, y, _left(column + 1), y)
        for stage in carried if row + 1 < classes else ():
            x = _left(_COLUMNS.index(stage)) + _WIDTH // 2
            yield _arrow(x, _top(row) + _HEIGHT, x, _top(row + 1))
    x, y = _left(len(_COLUMNS) - 1), _top(classes)
    if classes:
        yield _arrow(x + _WIDTH // 2, _top(classes - 1) + _HEIGHT, x + _WIDTH // 2, y)
    for place in range(len(_ENDS) - 1):
        column = len(_COLUMNS) - 1 - place
        yield _arrow(_left(column), y + middle, _left(column - 1) + _WIDTH, y + middle)


def _arrow(x1: int, y1: int, x2: int, y2: int) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" marker-end="url(#tip)"/>'


def _left(column: int) -> int:
    return _LEFT + column * (_WIDTH + _GAP)


def _top(row: int) -> int:
    return _TOP + row * _ROW
