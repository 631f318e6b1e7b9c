"""Stage `prompts`: what a method trains, the only stage with gradients (none for PatchCoreCL)."""

from evernorm.methods.parts import PARTS
from evernorm.params import Params
from tasks.stage import Paths, main, record_choice


def prompts(name: str, params: Params, paths: Paths) -> None:
    """Record the choice of prompt."""
    record_choice(paths.bank(name, "prompts"), "prompt", PARTS[params.method].prompt)


if __name__ == "__main__":
    main(prompts)
