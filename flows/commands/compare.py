"""The methods side by side on the same classes: the papers' tables, on one's own images."""

import shlex
from pathlib import Path

from evernorm.errors import ParamsError
from evernorm.methods.registry import learners
from flows.commands.lines import learn_lines

_FORM = "expected METHOD: key=value key=value, or METHOD/NAME: … for a further line"


def compare(
    data: Path,
    root: Path,
    order: list[str] | None,
    shared: list[str],
    out: Path | None,
    chosen: list[str] | None = None,
    own: list[str] | None = None,
    *,
    drop_faulty: bool = False,
) -> None:
    """Learn the stream with each method in one workspace and print the tables; no bank is registered.

    Args:
        data: A folder of classes.
        root: The workspace; see `learn_lines`.
        order: The stream; all classes by name where None.
        shared: Parameters that all methods share.
        out: Where the summaries go as ``<method>.json``, and the tables as ``table.txt``; default: in the workspace.
        chosen: The methods; all where None.
        own: Parameters of one of them alone, ``METHOD: key=value``, or of a further line, ``METHOD/NAME: key=value``.
        drop_faulty: See `learn_folder`.

    Raises:
        ParamsError: There is no such method; settings of another form.
    """
    known = learners()
    if unknown := sorted({*(chosen or [])} - {*known}):
        raise ParamsError(f"--methods {','.join(unknown)}: the methods are {', '.join(known)}")
    lines = {name: [f"method={name}"] for name in chosen or known}
    faults = []
    for each in own or []:
        name, colon, settings = each.partition(":")
        method = name.strip().partition("/")[0]
        if not colon or not settings.strip():
            faults.append(f"--settings {each!r}: {_FORM}")
        elif method not in (chosen or known):
            faults.append(f"--settings {each!r}: {method!r} is none of {', '.join(chosen or known)}")
        else:
            lines.setdefault(name.strip(), [f"method={method}"]).extend(shlex.split(settings))
    if faults:
        raise ParamsError("nothing was learned, as some settings name nothing that is compared", faults)
    title = ", ".join(lines)
    learn_lines(
        data,
        root,
        order,
        shared,
        lines,
        out or root / "comparison",
        "comparison",
        title,
        drop_faulty=drop_faulty,
    )
