"""MTRMB's ablations: its Tables 4 and 5."""

from evernorm.methods.ablation import Tables, Variant
from evernorm.params.groups import Params, StructureKind
from evernorm.prompts.params import PromptKind

_PLAIN = (f"mtrmb.prompts.kind={PromptKind.NONE.value}", "mtrmb.prompts.fusion_width=0")
_LENGTHS = (1, 5, 10, 15)


def mtrmb_tables(params: Params, kind: PromptKind) -> Tables:
    """The lines of each table that can be made.

    Args:
        params: What all lines share.
        kind: Of the prompts; only a prefix has a length.
    """
    without_text = Variant("RSCL", ("mtrmb.prompts.fusion_width=0",))
    ungrounded = StructureKind.SAM if params.masks.sam.checkpoint else StructureKind.SUPERPIXELS
    fused = Variant("RSCL + KPMK", (f"masks.structure={ungrounded.value}",))
    table = [Variant("none", _PLAIN), without_text, fused]
    if params.masks.structure is StructureKind.GROUNDED_SAM:
        table[1] = Variant("RSCL", (*without_text.settings, *fused.settings))
        table.append(Variant("RSCL + KPMK + GD"))
    tables = {"4": table}
    if kind is PromptKind.PREFIX:
        tables["5"] = [Variant(f"length {each}", (f"mtrmb.prompts.length={each}",)) for each in _LENGTHS]
    return tables
