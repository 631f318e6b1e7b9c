"""groundingdino 0.4.0 on transformers 5, from outside: the package stays as it is."""

import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from evernorm.errors import MachineError, WeightsError

_MODEL = "groundingdino.models.GroundingDINO.groundingdino"
_TEXT = "groundingdino.util.get_tokenlizer"
_PUBLISHED = "groundingdino.config.GroundingDINO_SwinT_OGC"


def import_package() -> tuple[Callable[[SimpleNamespace], Any], dict[str, Any]]:
    """The function of groundingdino that builds a model, and the configuration of a published one.

    Raises:
        MachineError: It is not installed, or something that it needs.
    """
    try:
        with quiet():
            build = importlib.import_module(_MODEL).build_groundingdino
            published = importlib.import_module(_PUBLISHED)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        raise MachineError(
            f"masks.grounding.engine is groundingdino, but {missing} is not installed: `pip install --no-deps "
            "groundingdino-py==0.4.0`, then `pip install addict yapf pycocotools`; or set masks.grounding.engine to "
            "transformers"
        ) from error
    settings = {name: value for name, value in vars(published).items() if not name.startswith("_")}
    # Checkpoints of activations save memory in training and are of no use without it.
    return build, {**settings, "use_checkpoint": False, "use_transformer_ckpt": False}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of the package: how it writes escapes, finds timm's layers and calls meshgrid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def bridged(text_encoder: str) -> Iterator[None]:
    """Within it the package builds its model with a BERT of today, whose weights are not read from anywhere.

    Args:
        text_encoder: A directory or hub name of BERT's tokenizer and configuration; a directory is read without
            the network.

    Raises:
        WeightsError: It is neither, or not BERT's.
    """
    local = Path(text_encoder).expanduser().is_dir()
    source = str(Path(text_encoder).expanduser()) if local else text_encoder
    try:
        tokenizer, bert = _tokenizer_and_bert(source, local)
    except Exception as error:  # whatever transformers and the hub client raise, the cure is the same
        raise WeightsError(
            f"masks.grounding.text_encoder {text_encoder!r} cannot be loaded by transformers: {error}. Set it to a "
            "directory with the tokenizer and config.json of BERT, or to a hub name such as bert-base-uncased (needs "
            "the network)"
        ) from error
    text, model = importlib.import_module(_TEXT), importlib.import_module(_MODEL)
    stand_ins = [
        (text, "get_tokenlizer", lambda _: tokenizer),
        (text, "get_pretrained_language_model", lambda _: bert),
        (model, "BertModelWarper", _reader()),
    ]
    own = [(module, name, getattr(module, name)) for module, name, _ in stand_ins]
    try:
        for module, name, stand_in in stand_ins:
            setattr(module, name, stand_in)
        with quiet():
            yield
    finally:
        for module, name, each in own:
            setattr(module, name, each)


def _tokenizer_and_bert(name: str, local: bool) -> tuple[Any, Any]:
    import transformers

    library: Any = transformers
    tokenizer = library.AutoTokenizer.from_pretrained(name, local_files_only=local)
    return tokenizer, library.BertModel(library.BertConfig.from_pretrained(name, local_files_only=local))


def _reader() -> type:
    """What stands for the package's `BertModelWarper`, under the same names so that checkpoints fit."""
    import torch
    from torch import nn

    class Reader(nn.Module):
        """BERT that reads each phrase by itself."""

        def __init__(self, bert_model: Any) -> None:
            super().__init__()
            self.config = bert_model.config
            self.embeddings = bert_model.embeddings
            self.encoder = bert_model.encoder
            self.pooler = bert_model.pooler

        def forward(
            self,
            input_ids: torch.Tensor,
            attention_mask: torch.Tensor,
            position_ids: torch.Tensor,
            token_type_ids: torch.Tensor | None = None,
        ) -> dict[str, torch.Tensor]:
            """Tokens ``[n, tokens]``, of which ``[n, tokens, tokens]`` says which see which: ``[n, tokens, dim]``."""
            embedded = self.embeddings(input_ids, token_type_ids, position_ids)
            hidden = torch.finfo(embedded.dtype).min
            mask = torch.zeros_like(attention_mask, dtype=embedded.dtype).masked_fill(~attention_mask, hidden)
            return {"last_hidden_state": self.encoder(embedded, attention_mask=mask[:, None])[0]}

    return Reader
