"""What becomes of settings (``key=value``) and of a wanted order before they are written: the rules of the domain."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from evernorm.errors import ParamsError
from evernorm.features.weights import HUB, RANDOM
from evernorm.params.file import override, parse_params
from evernorm.params.groups import Params, stream_of

_FILES = {  # may name a file or a folder
    "features.weights",
    "masks.grounding.checkpoint",
    "masks.grounding.text_encoder",
    "masks.sam.checkpoint",
    "mtrmb.prompts.text.encoder",
    "watch.inbox",
}


def with_settings(
    known: Params, settings: Iterable[str], order: Iterable[str] | None = None
) -> tuple[list[str], Params]:
    """Settings as they are to be written, and the parameters that they make.

    Args:
        known: What params.yaml says now.
        settings: ``key=value``, with files named from the current directory.
        order: The stream, if it changes.

    Raises:
        ParamsError: The settings are no parameters.
    """
    written = with_whole_paths(settings)
    values = override(known.model_dump(mode="json"), written)
    if order is not None:
        values["stream"] = stream_of(order, rates=known.own_rates)
    return written, parse_params(values)


def with_whole_paths(settings: Iterable[str]) -> list[str]:
    """Stages run in the workspace: a file that is named from here is named in full."""
    whole = []
    for setting in settings:
        key, _, value = setting.partition("=")
        names_a_file = key.strip() in _FILES and value not in {"", HUB, RANDOM} and Path(value).exists()
        named = json.dumps(str(Path(value).resolve()), ensure_ascii=False) if names_a_file else ""
        whole.append(f"{key}={named}" if names_a_file else setting)
    return whole


def stream_with(known: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The stream with new classes at its end: what is learned keeps its place.

    Raises:
        ParamsError: Another order of what is learned, a class named twice, names that differ only by case.
    """
    again = [name for name in wanted if name in known]
    if again != [name for name in known if name in wanted]:
        raise ParamsError(
            f"the stream was learned in the order {', '.join(known)}; --order {','.join(wanted)} would change it. "
            f"Name a new --workspace for another order"
        )
    if repeated := {name for name in wanted if wanted.count(name) > 1}:
        raise ParamsError(f"--order names {', '.join(sorted(repeated))} more than once")
    stream = [*known, *(name for name in wanted if name not in known)]
    names: dict[str, list[str]] = {}
    for name in stream:
        names.setdefault(name.casefold(), []).append(name)
    if alike := [" and ".join(each) for each in names.values() if len(each) > 1]:
        raise ParamsError(f"{', '.join(alike)} differ only by case; rename all but one")
    return stream
