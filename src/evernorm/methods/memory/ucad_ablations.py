"""UCAD's ablations: its Tables 6 to 8, and how the prompts are trained."""

from evernorm.features.backbone import single_levels
from evernorm.methods.ablation import Tables, Variant
from evernorm.params.groups import Params
from evernorm.prompts.params import PromptKind, PromptParams, Stopping


def ucad_tables(params: Params, prompts: PromptParams, rows: int) -> Tables:
    """The lines of each table.

    Args:
        params: What all lines share.
        prompts: UCAD's own, which the lines depart from.
        rows: Of the knowledge of a class.

    Raises:
        ParamsError: The backbone has no levels to compare.
    """
    plain, full = Variant("CPM", (f"ucad.prompts.kind={PromptKind.NONE.value}",)), Variant("CPM + SCL")
    # Without the continual prompting module there is one memory, relearned on each class.
    forgetful = Variant("no CPM", ("method=finetune", f"finetune.knowledge.budget={rows}"))
    sizes = [(f"{times} x {rows} rows", f"ucad.knowledge.rows={times * rows}") for times in (2, 4)]
    larger = [
        [line, *(Variant(f"{line.name}, {name}", (*line.settings, size)) for name, size in sizes)]
        for line in (plain, full)
    ]
    levels = single_levels(params.features.backbone)
    faster = 10 * prompts.learning_rate
    changes = {
        "loss=linear": "ucad.prompts.loss=linear",
        f"learning_rate={faster:g}": f"ucad.prompts.learning_rate={faster}",
        "first_block=5": "ucad.prompts.first_block=5",
        **{
            f"stopping={each.value}": f"ucad.prompts.stopping={each.value}"
            for each in Stopping
            if each is not prompts.stopping
        },
        "scale=50": "masks.superpixels.scale=50",
    }
    if params.masks.sam.checkpoint:
        changes["structure=sam"] = "masks.structure=sam"
    return {
        "6": [forgetful, plain, full],
        "7": [line for lines in larger for line in lines],
        "8": [full, *(Variant(f"level {level}", (f"features.layers=[{level}]",)) for level in levels)],
        "training": [full, *(Variant(name, (change,)) for name, change in changes.items())],
    }
