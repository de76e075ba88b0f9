"""Recipe run: every stage as an artifact of the store, what it reads, and which code and packages matter."""

from ...stages.distill import TrainingContext
from ..progress import Reporter
from ..recipe.recipe import Recipe
from ..store.store import Store
from .artifacts import Artifacts
from .attacks import Attacks
from .benches import Benches
from .engines import Engines
from .networks import Networks


class RecipeRun:
    """Every stage of a recipe, made when first asked for and remembered for the run.

    Args:
        recipe: the validated recipe.
        store: where artifacts live.
        reporter: where progress goes.
        workers: processes that attack; one a core when None.
        running: on what trainings run.
    """

    def __init__(
        self,
        recipe: Recipe,
        store: Store,
        reporter: Reporter,
        workers: int | None = None,
        running: TrainingContext | None = None,
    ) -> None:
        self.artifacts = Artifacts(recipe, store, reporter, running or TrainingContext())
        self.networks = Networks(self.artifacts)
        self.engines = Engines(self.artifacts, self.networks)
        self.attacks = Attacks(self.artifacts, self.networks, self.engines, workers)
        self.benches = Benches(self.artifacts, self.networks, self.engines, self.attacks)

    def check(self) -> None:
        """See, before anything is made, that the recipe suits its data; a mistake then costs no training.

        Raises:
            UsageError: it does not.
        """
        _ = self.attacks.samples
        for where, config in self.artifacts.recipe.trainings().items():
            config.check_images(self.artifacts.dataset.image_shape, where)


__all__ = ["RecipeRun"]
