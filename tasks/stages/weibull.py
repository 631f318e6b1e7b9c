"""Stage `weibull`: what the scores of the class mean, and what the next class is learned with. Loads no torch."""

from evernorm.calibration.evidence import Evidence
from evernorm.files import StoredArrays, read_arrays
from evernorm.methods.registry import learner_of
from evernorm.params.groups import Params
from tasks.stages.learning import carried, record_lineage, save_carry, trained_of
from tasks.stages.stage import main
from tasks.workspace.paths import Paths

PACKAGES = ("numpy", "scipy")


def weibull(name: str, params: Params, paths: Paths) -> None:
    """Fit the calibration and store it; hand on what the next experience needs of this one."""
    learner, knowledge = learner_of(params), paths.bank(name, "knowledge")
    evidence = knowledge / "evidence.safetensors"
    calibration = learner.calibrate(Evidence.of(read_arrays(evidence)))
    folder = paths.bank(name, "weibull")
    calibration.save(folder)
    record_lineage(
        "weibull",
        learner.revisions,
        folder,
        paths,
        inputs=[evidence],
        params={**params.weibull.model_dump(mode="json"), "guarantee": params.calibration.guarantee.value},
        packages=PACKAGES,
    )
    entry = StoredArrays(knowledge / "entry.safetensors")
    before = carried(name, params, paths)
    save_carry(
        name, learner, learner.carry(before, trained_of(name, paths), entry, calibration), params, paths
    )


if __name__ == "__main__":
    main(weibull)
