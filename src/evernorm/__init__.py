"""Continual visual anomaly detection that never forgets a product class.

from evernorm import load_bank, read_image

bank = load_bank("some/bank")
prediction = bank.predict([read_image("photo.png")])[0]
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evernorm.data.image import read_image
    from evernorm.methods.bank import load_bank

__version__ = "0.1.0"
__all__ = ["__version__", "load_bank", "read_image"]

_HOMES = {"load_bank": "evernorm.methods.bank", "read_image": "evernorm.data.image"}


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for: `import evernorm` alone loads nothing heavy."""
    if name not in _HOMES:
        raise AttributeError(f"module 'evernorm' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
