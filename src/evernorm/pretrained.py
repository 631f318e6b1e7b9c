"""Where pretrained networks come from: packages, files of tensors, directories and hub names of transformers."""

import importlib.util
from pathlib import Path
from typing import Any

from evernorm.errors import MachineError, WeightsError
from evernorm.files import sha256_file

_READ = {".safetensors", ".bin", ".json", ".txt", ".model"}  # weights, configurations, vocabularies
_TENSORS = {".pth", ".pt", ".safetensors"}


def package_folder(name: str) -> Path | None:
    """The folder of an installed Python package; None where there is none of that name."""
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def is_hub_name(source: str) -> bool:
    """Whether what is no path that exists may be a name of the hub, ``owner/model``."""
    return source.count("/") == 1 and Path(source).suffix not in _TENSORS


def file_digests(place: Path) -> dict[str, str]:
    """`sha256_file` of a file, or of what results depend on in a directory of transformers, by name."""
    files = [place] if place.is_file() else sorted(file for file in place.iterdir() if file.suffix in _READ)
    return {file.name: sha256_file(file) for file in files}


def read_tensors(path: Path) -> Any:
    """What a ``.safetensors`` file holds, or one of torch, of which nothing but tensors is read; raises as these do."""
    import torch
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def from_transformers(
    model: str,
    companion: str,
    source: str,
    *,
    called: str,
    lacking: str,
    ways: str,
    unused: tuple[str, ...] = (),
    **options: Any,
) -> tuple[Any, Any]:
    """Load a model of transformers and what prepares its input; a directory is read without the network.

    Args:
        model: Class of the model.
        companion: Class of its tokenizer or image processor.
        source: A directory, or a hub name.
        called: What the user calls it, for messages.
        lacking: Of what tensors may be missing, for messages.
        ways: How else to get weights, for messages.
        unused: How names of tensors begin that may be missing.
        options: For loading the model.

    Raises:
        MachineError: transformers is not installed.
        WeightsError: There is no such model, or its weights are not all there: transformers would draw them at random.
    """
    try:
        import transformers
    except ImportError as error:
        raise MachineError(f"{called} needs transformers: `pip install 'evernorm[pipeline]'`") from error
    library: Any = transformers
    local = Path(source).is_dir()
    try:
        network, loaded = getattr(library, model).from_pretrained(
            source, local_files_only=local, output_loading_info=True, **options
        )
        prepares = getattr(library, companion).from_pretrained(source, local_files_only=local)
    except Exception as error:  # whatever transformers and the hub client raise, the cure is the same
        raise WeightsError(f"{called} cannot be loaded by transformers: {error}. {ways}") from error
    if missing := sorted(name for name in loaded["missing_keys"] if not name.startswith(unused)):
        raise WeightsError(f"{called} lacks {len(missing)} {lacking} ({missing[0]}, …). {ways}")
    return network.eval(), prepares
