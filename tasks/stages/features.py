"""Stage `features`: what the test images are seen as, kept apart so that no later change needs them again."""

from evernorm.data.experience import TestView
from evernorm.data.manifest import Manifest
from evernorm.features.extract import collect
from evernorm.files import write_json
from evernorm.methods.registry import learner_of, learners
from evernorm.params.groups import Params
from tasks.stages.learning import trained_of
from tasks.stages.stage import main, progress_bar, record_choice
from tasks.workspace.paths import Paths


def features(name: str, params: Params, paths: Paths) -> None:
    """Look at the test images once and store what was seen; a record where features do not stay as they are."""
    folder = paths.features(name)
    if not learners()[params.method].traits.fixed_features:
        record_choice(folder, "features", "none")
        return
    learner = learner_of(params)
    eye = learner.eye(trained_of(name, paths))
    if eye is None:
        raise TypeError(f"{params.method} has fixed features and no eye")
    view = TestView.of(Manifest.load(paths.manifest(name)), paths.data(name))
    with progress_bar(f"{name}: test features") as progress:
        seen = collect(
            eye, view.read, len(view), params.features.batch_size, folder=folder, progress=progress
        )
    write_json(folder / "features.json", {"arrays": sorted(seen), "weights": learner.weights})


if __name__ == "__main__":
    main(features)
