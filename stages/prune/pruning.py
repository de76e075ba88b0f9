"""Channel pruning stage: channels leave the distilled student, adversarial fine-tuning brings its robustness back."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from ...core.errors import UsageError
from ..checkpoint import WEIGHTS, save_weights
from ..data import Dataset
from ..distill import Progress, TrainingContext, TrainResult, train
from ..distill.training.history import Epoch, weights_of
from ..distill.training.processes import make_fabric
from ..distill.training.selection import pgd_accuracy
from ..threat import ThreatModel
from .architecture import cut_layers
from .check_equivalence import mistake
from .choice import choose
from .config import PruneConfig
from .coupling import library
from .importance import importances
from .record import PRUNING, Accuracy, PruningRecord, Round, joined
from .size import size_of
from .source import Source
from .state import State, drop_state, read_state, write_state

if TYPE_CHECKING:  # it builds what this package prunes
    from ..classifier import Classifier


def prune_student(
    student: Classifier,
    config: PruneConfig,
    teacher: Classifier,
    dataset: Dataset,
    threat: ThreatModel,
    folder: Path,
    *,
    natural_teacher: Classifier | None = None,
    running: TrainingContext | None = None,
) -> None:
    """Write the pruned and fine-tuned student as `model.safetensors`, with `pruning.json`, `training.json` and
    `metrics.csv`.

    Channels are ranked on the training split, and epochs chosen by PGD on the validation split. With
    `running.folder` a killed pruning goes on from the last finished epoch to the same weights.

    Args:
        student: what is pruned; it may be a pruned one, whose channels then count as all there are.
        config: how much, by what, and how it is fine-tuned.
        teacher: the robust teacher of the fine-tuning.
        dataset: what it is fine-tuned on.
        threat: the ball.
        folder: where the files go.
        natural_teacher: the clean teacher, for methods that need one.
        running: where and on what it runs.

    Raises:
        UsageError: the package is missing, the model cannot be traced or has nothing to prune, the ratio leaves a
            layer with no channel, or the fine-tuning lacks a network; says which.
        StageError: the fine-tuning failed.
    """
    pruning = _Pruning(student, config, dataset, threat, running or TrainingContext())
    state = pruning.run(teacher.load(), None if natural_teacher is None else natural_teacher.load())
    pruning.save(state, folder)


class _Pruning:
    """One pruning; arguments as of `prune_student`."""

    def __init__(
        self, student: Classifier, config: PruneConfig, dataset: Dataset, threat: ThreatModel, running: TrainingContext
    ) -> None:
        library()  # before anything that takes time
        self._source, self._config = Source.of(student), config
        self._dataset, self._threat, self._running = dataset, threat, running
        self._fabric = make_fabric(config.train, running)

    def run(self, teacher: nn.Module, natural_teacher: nn.Module | None) -> State:
        """Prune and fine-tune in turn until all rounds are over, from a snapshot if there is one."""
        state = self._agreed(self._begin() if self._leads else None)
        while True:
            if not state.trained:
                state = self._kept(self._fine_tune(state, teacher, natural_teacher))
            if state.turn == self._config.rounds:
                break
            state = self._kept(self._agreed(self._prune(state) if self._leads else None))
        return state

    def save(self, state: State, folder: Path) -> None:
        """Write the files of a finished pruning."""
        source, config = self._source, self._config
        save_weights(state.weights, folder / WEIGHTS, model=source.model, normalize=source.normalize)
        state.result.save_history(folder)
        PruningRecord(
            model=source.model,
            image_shape=source.image_shape,
            classes=source.classes,
            seed=config.train.seed,
            config=config.model_dump(mode="json"),
            channels=sum(state.initial.values()),
            before=state.before,
            after=state.rounds[-1].size,
            accuracy_before=state.accuracy_before,
            rounds=state.rounds,
            whole=dict(state.whole),
            layers=dict(state.cuts),
        ).save(folder / PRUNING)
        if self._running.folder is not None and self._leads:
            drop_state(self._running.folder)

    def _begin(self) -> State:
        """Take up a snapshot, or the student as it came."""
        found = None if self._running.folder is None else read_state(self._running.folder)
        if found is not None:
            self._running.notice(f"prune: goes on in round {found.turn} of {self._config.rounds}")
            return found
        source = self._source
        network = source.network(source.cuts, source.weights)
        return State(weights_of(network), source.cuts, size_of(network, source.image_shape), self._accuracy(network))

    def _prune(self, state: State) -> State:
        """Remove the least important channels of the next round."""
        source, config, turn = self._source, self._config, state.turn + 1
        network = source.network(state.cuts, state.weights).to(self._fabric.device).eval()
        choice = choose(
            network,
            lambda coupled: importances(source.classifier(network), coupled, config, self._dataset.train, self._threat),
            config,
            turn=turn,
            initial=state.initial,
            image_shape=source.image_shape,
            name=source.model,
        )
        state = replace(state, turn=turn, initial=choice.initial, whole=choice.whole)
        if not choice.cuts:
            return state
        pruned = copy.deepcopy(network.cpu())  # where the two are compared in full precision
        cut_layers(pruned, choice.cuts)
        if problem := mistake(network, pruned, choice.cuts, source.image_shape):
            raise UsageError(f"model {source.model!r}: cannot be pruned: {problem}")
        done = Round(
            ratio=choice.ratio,
            channels=choice.left,
            size=size_of(pruned, source.image_shape),
            pruned=self._accuracy(pruned),
        )
        self._running.notice(
            f"prune: round {turn} of {config.rounds}: {done.channels} of {sum(state.initial.values())} channels left, "
            f"{done.size.parameters:,} of {state.before.parameters:,} parameters, "
            f"{done.size.multiply_adds:,} of {state.before.multiply_adds:,} multiply-adds"
        )
        return replace(
            state,
            weights=weights_of(pruned),
            cuts=joined(state.cuts, choice.cuts),
            trained=False,
            rounds=(*state.rounds, done),
        )

    def _fine_tune(self, state: State, teacher: nn.Module, natural_teacher: nn.Module | None) -> State:
        """Train the pruned student; its best epoch is what the next round starts from."""
        network = self._source.network(state.cuts, state.weights)
        classifier = self._source.classifier(network)
        offset = (state.turn - 1) * self._config.train.epochs
        found = train(
            classifier,
            self._dataset,
            self._threat,
            self._config.train,
            teacher=teacher,
            natural_teacher=natural_teacher,
            where="prune.train",
            running=self._numbered(offset),
        )
        classifier.cpu().load_state_dict(found.best)
        best, history = found.history[found.best_epoch], state.result.history
        fine_tuned = Accuracy(clean=best.clean_accuracy, pgd=best.pgd_accuracy)
        return replace(
            state,
            weights=weights_of(network),
            trained=True,
            rounds=(*state.rounds[:-1], state.rounds[-1].model_copy(update={"fine_tuned": fine_tuned})),
            result=TrainResult(
                best_epoch=len(history) + found.best_epoch,
                history=history + [replace(epoch, epoch=offset + epoch.epoch) for epoch in found.history],
                selection=found.selection,
                stopped_early=found.stopped_early,
            ),
        )

    def _accuracy(self, network: nn.Module) -> Accuracy:
        clean, pgd = pgd_accuracy(
            self._source.classifier(network.to(self._fabric.device)),
            self._dataset.validation,
            self._threat,
            steps=self._config.train.selection_steps,
            seed=self._config.train.seed,
            device=self._fabric.device,
        )
        return Accuracy(clean=clean, pgd=pgd)

    def _numbered(self, offset: int) -> TrainingContext:
        """The conditions of one round's training, whose epochs count on from the rounds before."""
        told = self._running

        def on_step(progress: Progress) -> None:
            told.on_step(replace(progress, epoch=offset + progress.epoch, epochs=self._config.epochs))

        def on_epoch(epoch: Epoch) -> None:
            told.on_epoch(replace(epoch, epoch=offset + epoch.epoch))

        return replace(told, on_step=on_step, on_epoch=on_epoch)

    @property
    def _leads(self) -> bool:
        # The leading process decides what goes: two that rank nearly equal channels might not agree.
        return self._fabric.is_global_zero

    def _agreed(self, state: State | None) -> State:
        agreed = self._fabric.broadcast(state)
        assert agreed is not None
        return agreed

    def _kept(self, state: State) -> State:
        if self._running.folder is not None and self._leads:
            write_state(self._running.folder, state)
        return state
