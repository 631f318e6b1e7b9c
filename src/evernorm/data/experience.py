"""What a method may see of a class: `Experience` to learn from, `TestView` to be judged by."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from evernorm.data.image import read_image, read_mask
from evernorm.data.manifest import Manifest, Record
from evernorm.files import inside


@dataclass(frozen=True)
class Experience:
    """The normal training images of one class and what it is: there is no way from here to the test split.

    Attributes:
        name: Class name.
        root: The class folder.
        paths: Images relative to `root`, sorted.
        sha256s: Their hashes, in the same order.
        bit_depth: Bits used by 16-bit files that do not tell them, if there are any.
        description: What the class is, in words; empty where nobody has said.
    """

    name: str
    root: Path
    paths: tuple[str, ...]
    sha256s: tuple[str, ...]
    bit_depth: int | None = None
    description: str = ""

    @classmethod
    def of(cls, manifest: Manifest, root: Path) -> Self:
        """Training view of a manifest whose files are in the class folder `root`."""
        good = [record for record in manifest.train if record.label == "good"]
        paths, sha256s = tuple(record.path for record in good), tuple(record.sha256 for record in good)
        return cls(manifest.name, root, paths, sha256s, manifest.bit_depth, manifest.description)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        """Image `index` as uint8 RGB [H, W, 3].

        Raises:
            DataError: The file leaves the class folder or cannot be read.
        """
        return read_image(inside(self.root, self.paths[index]), self.bit_depth)

    def images(self) -> Iterator[npt.NDArray[np.uint8]]:
        """All images in the order of `paths`, read one by one; sizes may differ."""
        return map(self.read, range(len(self)))


@dataclass(frozen=True)
class TestView:
    """The test images of one class with their labels and masks, for evaluation only.

    Attributes:
        name: Class name.
        root: The class folder.
        records: Test records, sorted by path.
        bit_depth: Bits used by 16-bit files that do not tell them, if there are any.
    """

    __test__ = False  # no test case, whatever pytest makes of the name

    name: str
    root: Path
    records: tuple[Record, ...]
    bit_depth: int | None = None

    @classmethod
    def of(cls, manifest: Manifest, root: Path) -> Self:
        """Test view of a manifest whose files are in the class folder `root`."""
        return cls(manifest.name, root, manifest.test, manifest.bit_depth)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def labels(self) -> npt.NDArray[np.bool_]:
        """Boolean array [N], true where the image is anomalous."""
        return np.array([record.label == "anomalous" for record in self.records], dtype=np.bool_)

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        """Image `index` as uint8 RGB [H, W, 3].

        Raises:
            DataError: The file leaves the class folder or cannot be read.
        """
        return read_image(inside(self.root, self.records[index].path), self.bit_depth)

    def mask(self, index: int) -> npt.NDArray[np.bool_] | None:
        """Mask of image `index` as bool [H, W]: all false for a good image, none where a defect was never drawn.

        Raises:
            DataError: The mask leaves the class folder or cannot be read.
        """
        record = self.records[index]
        if record.label == "good":
            return np.zeros((record.height, record.width), dtype=np.bool_)
        return None if record.mask is None else read_mask(inside(self.root, record.mask))
