"""The stages of a run as artifacts of its store: what each reads, and which code and packages matter."""

from ...stages.distill import Running
from ..progress import Reporter
from ..recipe import Recipe
from ..store import Store
from .attacks import Attacks
from .benches import Benches
from .engines import Engines
from .networks import Networks
from .workshop import Workshop


class Stages:
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
        running: Running | None = None,
    ) -> None:
        self.shop = Workshop(recipe, store, reporter, running or Running())
        self.networks = Networks(self.shop)
        self.engines = Engines(self.shop, self.networks)
        self.attacks = Attacks(self.shop, self.networks, self.engines, workers)
        self.benches = Benches(self.shop, self.networks, self.engines, self.attacks)

    def check(self) -> None:
        """See, before anything is made, that the recipe suits its data; a mistake then costs no training.

        Raises:
            UsageError: it does not.
        """
        _ = self.attacks.samples
        for where, config in self.shop.recipe.trainings().items():
            config.check_images(self.shop.dataset.image_shape, where)


__all__ = ["Stages"]
