"""The manifest of a class: every image once, with its split, label, mask, size and hash."""

from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from evernorm.data.description import Description
from evernorm.data.naming import DisplayName
from evernorm.errors import StateError
from evernorm.files import PLAIN_NAME, is_plain_name, read_json, write_json
from evernorm.params.groups import BitDepth

SCHEMA_VERSION: Final = 1

Split = Literal["train", "test"]
Label = Literal["good", "anomalous"]
Format = Literal["mvtec", "visa", "btad", "bmad", "folder"]


def leaves_folder(path: str) -> bool:
    """Tell whether a relative POSIX path is absolute, empty or climbs out of its folder with ``..``."""
    return path == "" or path.startswith("/") or ".." in PurePosixPath(path).parts


def _stays(path: str) -> str:
    if leaves_folder(path):
        raise ValueError(
            f"path {path!r} leaves its folder; paths are relative to the class folder, without '..'"
        )
    return path


def _plain(name: str) -> str:
    if not is_plain_name(name):
        raise ValueError(f"{name!r} is no plain class name; use {PLAIN_NAME}")
    return name


PlainName = Annotated[str, AfterValidator(_plain)]
RelativePath = Annotated[str, AfterValidator(_stays)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Record(BaseModel):
    """One image of a class.

    Attributes:
        path: POSIX path relative to the class folder.
        split: ``train`` or ``test``.
        label: ``good`` or ``anomalous``.
        defect: Kind of defect; ``good`` for a good image and for no other.
        mask: Path of the defect mask relative to the class folder, if there is one.
        sha256: Hash of the image file.
        mask_sha256: Hash of the mask file, if there is one.
        size: Bytes of the image file.
        width: Pixels, upright.
        height: Pixels, upright.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: RelativePath
    split: Split
    label: Label
    defect: Annotated[str, Field(min_length=1)]
    mask: RelativePath | None = None
    sha256: Sha256
    mask_sha256: Sha256 | None = None
    size: Annotated[int, Field(gt=0)]
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.label == "good") != (self.defect == "good"):
            raise ValueError(
                f"label {self.label!r} and defect {self.defect!r} of {self.path!r} contradict each other"
            )
        if (self.mask is None) != (self.mask_sha256 is None):
            raise ValueError(f"mask and mask_sha256 of {self.path!r} must be given together")
        return self


class Dropped(BaseModel):
    """An image that was left out on demand.

    Attributes:
        path: POSIX path relative to the class folder.
        fault: What is wrong with it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: RelativePath
    fault: str


class Manifest(BaseModel):
    """All images of one class, sorted by path whatever the order they are given in.

    Attributes:
        schema_version: Version of this schema.
        name: Key of the class, a plain name.
        display: What people call it; in the data set, the name of its folder. The key, if it is not given.
        format: Layout the class was read from.
        bit_depth: Bits used by those 16-bit files that do not tell them; None where there are none such.
        description: What the class is; empty, and then not stored, where nobody has said.
        records: One record an image.
        dropped: Images of the class folder that were left out, and why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    name: PlainName
    display: DisplayName = ""
    format: Format
    bit_depth: BitDepth | None = None
    description: Annotated[Description, Field(exclude_if=lambda text: not text)] = ""
    records: Annotated[
        tuple[Record, ...],
        AfterValidator(lambda records: tuple(sorted(records, key=lambda record: record.path))),
    ]
    dropped: tuple[Dropped, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _is_called(cls, values: Any) -> Any:
        return {"display": values.get("name"), **values} if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _lists_once(self) -> Self:
        paths = [record.path for record in self.records]
        if twice := sorted({first for first, second in pairwise(paths) if first == second}):
            raise ValueError(f"listed more than once: {', '.join(twice)}")
        return self

    @property
    def train(self) -> tuple[Record, ...]:
        """Records of the training split."""
        return tuple(record for record in self.records if record.split == "train")

    @property
    def test(self) -> tuple[Record, ...]:
        """Records of the test split."""
        return tuple(record for record in self.records if record.split == "test")

    def training(self) -> Self:
        """What learning depends on: the description, and every training image by its hash; no word of the test images."""
        return self.model_copy(update={"display": self.name, "records": self.train, "dropped": ()})

    def save(self, path: Path) -> None:
        """Write the manifest as JSON, atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a manifest and check it whole.

        Raises:
            StateError: The file is missing, no JSON, of another schema version, or lists a path that leaves the
                class folder, a path twice, or a record that contradicts itself.
        """
        content: Any = read_json(path)
        found = content.get("schema_version") if isinstance(content, dict) else None
        if found != SCHEMA_VERSION:
            raise StateError(
                f"{path} has schema version {found!r}, expected {SCHEMA_VERSION}; run the stage that writes it again"
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            faults = [
                f"{'.'.join(map(str, fault['loc'])) or 'manifest'}: {fault['msg'].removeprefix('Value error, ')}"
                for fault in error.errors()
            ]
            raise StateError(
                f"{path} is no valid manifest; run the stage that writes it again", faults
            ) from error
