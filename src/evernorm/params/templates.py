"""Texts with a class in them: ``a photo of a {class}``."""

from string import Formatter

FIELD = "class"


def check_template(template: str) -> str:
    """Pass a template on.

    Raises:
        ValueError: It is empty, no template, or has another field than ``{class}``.
    """
    if not template.strip():
        raise ValueError("must hold a text")
    for _, field, form, conversion in Formatter().parse(template):  # raises ValueError for a lone brace
        if field is not None and (field, form, conversion) != (FIELD, "", None):
            raise ValueError(f"has a field other than {{{FIELD}}} in {template!r}")
    return template


def filled(template: str, name: str) -> str:
    """A template with the class in words: ``metal_nut`` is "metal nut"."""
    return template.format(**{FIELD: name.replace("_", " ").replace("-", " ").lower()})
