"""Stage `weibull`: calibration of the class's scores on its normal training images. Loads no torch."""

from evernorm.calibration.weibull import calibrate
from evernorm.lineage import write_lineage
from evernorm.memory.leave_one_out import TrainingScores
from evernorm.params.groups import Params
from tasks.stages.stage import Paths, main

PACKAGES = ("numpy", "scipy")


def weibull(name: str, params: Params, paths: Paths) -> None:
    """Fit the tails and store them."""
    training = paths.bank(name, "knowledge") / "training.safetensors"
    folder = paths.bank(name, "weibull")
    calibrate(TrainingScores.load(training), params.weibull).save(folder)
    write_lineage(
        folder / "lineage.json",
        stage="weibull",
        inputs=[training],
        root=paths.root,
        params=params.weibull.model_dump(mode="json"),
        packages=PACKAGES,
    )


if __name__ == "__main__":
    main(weibull)
