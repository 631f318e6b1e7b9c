"""CADA's ablations: its Tables 3 to 5, of one threshold for all classes."""

from evernorm.methods.ablation import Tables, Variant
from evernorm.params.groups import AlignmentKind, Spread

_SHARES = {"place": 1e-6, "0.1 %": 0.001, "2 %": 0.02}


def cada_tables(method: str) -> Tables:
    """The lines of each table."""
    lines = {
        AlignmentKind.NONE: "no alignment",
        AlignmentKind.CADA_A: "CaDA-A",
        AlignmentKind.CADA_B: "CaDA-B",
        AlignmentKind.CADA: "CADA",
        AlignmentKind.BOTH: "CaDA-A and CADA, the mean",
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
            *(
                cada(f"{count} linear", f"{head}.convolutions=0", f"{head}.layers={count}")
                for count in (1, 2, 3)
            ),
            full,  # 1 convolution and 2 linear layers, dropout .5, the highest 1 % of the places
            cada("2 conv, 2 linear", f"{head}.convolutions=2"),
            *(cada(f"dropout={share:g}", f"{head}.dropout={share}") for share in (0.0, 0.25, 0.75)),
            *(cada(f"highest {name}", f"{method}.knowledge.top={share}") for name, share in _SHARES.items()),
        ],
        "4": list(kinds.values()),
        "5": [
            kinds[AlignmentKind.NONE],
            full,
            cada("(u, sigma)", f"calibration.spread={Spread.DEVIATION.value}"),
        ],
    }
