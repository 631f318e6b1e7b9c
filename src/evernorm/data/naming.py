"""Names of classes: what people call a class, and the plain key that folders, addresses and figures call it."""

import re
import unicodedata
from collections.abc import Collection, Iterable
from hashlib import sha256
from typing import Annotated

from pydantic import AfterValidator

from evernorm.errors import DataError
from evernorm.files import is_plain_name

_LONGEST_KEY = 64
_LONGEST_NAME = 255  # bytes, as of a folder


def name_fault(name: str) -> str | None:
    """Why a name can be no class's, if it cannot: what is hidden, cannot be seen or written, or names another folder."""
    if not name.isprintable() or name != name.strip() or not name:
        return f"{name!r}: characters that cannot be seen; rename it"
    if name.startswith("."):
        return f"{name!r}: a hidden name; rename it"
    if "/" in name or len(name.encode()) > _LONGEST_NAME:
        return f"{name!r}: no name of a folder; rename it"
    return None


def key_of(name: str) -> str:
    """The plain key of a class: ``Blister Ø5 mm`` gives ``Blister-5-mm``, a plain name itself.

    Letters lose their accents and whatever else is not ASCII is left out; of a name that is nothing else, the key is
    made of its hash. A word that is taken (`evernorm.files.PLAIN_NAME`) gets a number.

    Raises:
        DataError: No class can be called so (`name_fault`).
    """
    if is_plain_name(name):
        return name
    if fault := name_fault(name):
        raise DataError(fault)
    decomposed = unicodedata.normalize("NFKD", name)
    plain = decomposed.encode("ascii", "ignore").decode()
    key = re.sub(r"[^A-Za-z0-9_]+", "-", plain).lstrip("-_")[:_LONGEST_KEY].rstrip("-")
    if not key:
        key = f"class-{sha256(decomposed.encode()).hexdigest()[:8]}"
    return key if is_plain_name(key) else f"{key}-1"


def keyed(names: Iterable[str], wanted: Collection[str] | None = None) -> dict[str, str]:
    """Names of classes by their keys, in the order of the keys.

    Args:
        names: What the classes are called.
        wanted: Only these keys, if given; names that have none are passed over then.

    Raises:
        DataError: Listing names that no class can have, and those that give the same key.
    """
    found: dict[str, list[str]] = {}
    faults = []
    for name in names:
        if not (fault := name_fault(name)):
            found.setdefault(key_of(name), []).append(name)
        elif wanted is None:
            faults.append(fault)
    found = {key: alike for key, alike in sorted(found.items()) if wanted is None or key in wanted}
    faults += [
        f"{' and '.join(map(repr, alike))} give the same key, {key}; rename all but one"
        for key, alike in found.items()
        if len(alike) > 1
    ]
    if faults:
        raise DataError("classes cannot be told apart by these names", faults)
    return {key: name for key, (name,) in found.items()}


def _usable(name: str) -> str:
    if fault := name_fault(name):
        raise ValueError(fault)
    return name


DisplayName = Annotated[str, AfterValidator(_usable)]
"""What people call a class."""
