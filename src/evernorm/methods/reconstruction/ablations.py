"""CADA's ablations: its Tables 3 to 5, of one threshold for all classes."""

from evernorm.methods.ablation import Tables, Variant
from evernorm.params.groups import AlignmentKind, Spread


def cada_tables(method: str) -> Tables:
    """The lines of each table; the training is the same in all, and done once."""
    lines = {
        AlignmentKind.NONE: "no alignment",
        AlignmentKind.CADA_A: "CaDA-A",
        AlignmentKind.CADA_B: "CaDA-B",
        AlignmentKind.CADA: "CADA",
        AlignmentKind.CADA_WEIBULL: "CADA, then Weibull",
        AlignmentKind.WEIBULL: "Weibull",
    }
    kinds = {kind: Variant(name, (f"calibration.alignment={kind.value}",)) for kind, name in lines.items()}
    full = kinds[AlignmentKind.CADA]

    def cada(name: str, *settings: str) -> Variant:
        return Variant(f"CADA, {name}", (*full.settings, *settings))

    head = "calibration.head"
    return {
        "3": [
            full,  # one convolution and two linear layers, dropout .25, the highest 1 % of the places
            cada("one linear layer", f"{head}.convolutions=0", f"{head}.layers=1"),
            cada("two linear layers", f"{head}.convolutions=0"),
            cada("two convolutions", f"{head}.convolutions=2"),
            *(cada(f"dropout={share:g}", f"{head}.dropout={share}") for share in (0.0, 0.5)),
            cada("the highest place", f"{method}.knowledge.top=1e-06"),
        ],
        "4": list(kinds.values()),
        "5": [
            kinds[AlignmentKind.NONE],
            full,
            cada("(u, sigma)", f"calibration.spread={Spread.DEVIATION.value}"),
        ],
    }
