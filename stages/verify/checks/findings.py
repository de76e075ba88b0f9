"""What the verifier holds against its own result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..evidence.counts import Counts

TWIN_CLEAN = 0.99
TWIN_ADVERSARIAL = 0.98
HUGE_EPS_SURVIVORS = 0.1
ALLOWED_CHANGES = 0.01
FLAT = 0.1
ELSEWHERE = 0.1
ASTRAY = 0.5
GONE = 0.1
NOT_MONOTONE = 0.1

_WARNINGS = {
    "randomised": "the answers change from call to call; a random defence needs attacks that average over it",
    "probabilities": "the outputs are probabilities, not logits; their gradients vanish",
    "dynamic": "the model takes gradients while it answers; it may adapt to the attack",
    "zero-gradient": "some samples have no gradient; gradient attacks see nothing there",
    "no-gradients": "no gradient reaches the images, from the graph or from a surrogate; what black boxes find "
    "is an upper bound",
    "labels-only": "the model answers labels alone; attacks that see no logits find less, and the figure is an upper "
    "bound",
    "no-targeted-dlr": "APGD-T was skipped: its loss needs at least four classes",
}
# These alone do not make a figure unreliable: other routes and the checks below speak about them.
_HARMLESS = {"zero-gradient", "no-targeted-dlr"}


@dataclass(frozen=True)
class Finding:
    """One reason for doubt: a name, a sentence, and whether it makes the verdict inconclusive."""

    name: str
    sentence: str
    inconclusive: bool = True

    def __str__(self) -> str:
        return f"{self.name}: {self.sentence}"


def allowance(standing: int) -> float:
    """How many samples other routes may find that the white box missed: max(2, 0.5 %)."""
    return max(2.0, 0.005 * standing)


def search_allowance(standing: int) -> float:
    """How many the probe's search may find, which begins where gradients ended: max(2, 2 %).

    Honest 8-bit students lose about one in a hundred to it, and few more to one of four times the length; behind 4-bit
    activations it finds more than one in ten, and more the longer it goes on.
    """
    return max(2.0, 0.02 * standing)


def too_much_missed(counts: Counts) -> bool:
    """Whether the white box missed so much that it is to try again, with more restarts."""
    others, by_search = allowance(counts.standing), search_allowance(counts.standing)
    return counts.missed_by_white_box > others or counts.search_missed > by_search


def find(counts: Counts, warnings: Iterable[str]) -> list[Finding]:
    """Judge the counts of all shards of a subject and the warnings of its attacks."""
    # Where the logits behind the answer were attacked themselves, it does not matter how the answer is dressed.
    undressed = counts.inner_compared > 0 and counts.inner_agreeing >= TWIN_CLEAN * counts.inner_compared - 1
    heard = set(warnings)
    if "labels-only" in heard:  # which says it all
        heard -= {"probabilities", "zero-gradient"}
    harmless = _HARMLESS | {"probabilities"} if undressed else _HARMLESS
    found = [Finding(name, _WARNINGS[name], name not in harmless) for name in sorted(heard)]
    found += _too_weak(counts)
    if counts.huge_eps_survived > HUGE_EPS_SURVIVORS * counts.huge_eps_attacked:
        found.append(
            Finding(
                "huge-eps",
                f"{counts.huge_eps_survived} of {counts.huge_eps_attacked} samples survive an eps at which "
                "nothing can be robust; the gradients are masked",
            )
        )
    if counts.gradients_gone > GONE * counts.gradients_asked and not undressed and "labels-only" not in heard:
        found.append(
            Finding(
                "vanishing-gradients",
                f"no gradient has anything but zeros at {counts.gradients_gone} of {counts.gradients_asked} samples; "
                "the white box sees nothing there",
            )
        )
    found += _not_monotone(counts) + _more_than_a_function(counts)
    if counts.unstable:
        found.append(
            Finding(
                "unstable",
                f"{counts.unstable} samples are answered otherwise in another batch, or when asked again",
            )
        )
    if counts.failing:
        found.append(
            Finding(
                "failing",
                f"the model crashed, hung or raised on {counts.failing} images; samples that have such an image in "
                "their ball count as not robust",
                inconclusive=False,
            )
        )
    if counts.changed > ALLOWED_CHANGES * counts.asked_again:
        found.append(
            Finding(
                "changing",
                f"{counts.changed} of {counts.asked_again} images are answered otherwise after the attacks than before "
                "them; the model is random, or keeps a memory",
            )
        )
    if counts.flat > FLAT * counts.flat_compared and not undressed and "labels-only" not in heard:
        found.append(
            Finding(
                "flat",
                f"the answers to {counts.flat} of {counts.flat_compared} images are the same to the last bit all "
                "around them; nothing tells a search where to go",
            )
        )
    if counts.hidden > allowance(counts.standing):
        found.append(
            Finding(
                "hidden-logits",
                f"{counts.hidden} samples are robust only behind the last layer, whose own logits are fooled "
                f"(allowed: {allowance(counts.standing):g}); what stands there hides them, or remembers the images",
            )
        )
    for kind, agreeing, compared, least in (
        ("clean", counts.clean_agreeing, counts.clean_compared, TWIN_CLEAN),
        ("adversarial", counts.adversarial_agreeing, counts.adversarial_compared, TWIN_ADVERSARIAL),
    ):
        # One image of a few may lie on a tie between two classes.
        if compared - agreeing > max(1, (1 - least) * compared):
            found.append(
                Finding(
                    "twin-disagrees",
                    f"twin and engine agree on {agreeing / compared:.1%} of {kind} images "
                    f"(needed: {least:.0%}); the white box attacks another function",
                )
            )
    return found


def _too_weak(counts: Counts) -> list[Finding]:
    for missed, allowed, how in (
        (counts.missed_by_strong, allowance(counts.standing), "without gradients"),
        (counts.search_missed_by_strong, search_allowance(counts.standing), "by a search alone"),
    ):
        if missed > allowed:
            sentence = (
                f"{missed} samples broken {how} withstand the white box even with more restarts "
                f"(allowed: {allowed:g}); its gradients are masked, or blind to the steps of activations of few bits, "
                "and the figure is an upper bound"
            )
            return [Finding("white-box-too-weak", sentence)]
    return []


def _not_monotone(counts: Counts) -> list[Finding]:
    return [
        Finding("not-monotone", f"{many} of {counts.monotone_asked} samples {what}; its gradients are noise")
        for many, what in (
            (counts.fewer_steps_better, "fall to fewer steps of the white box and withstand more"),
            (counts.wider_ball_worse, "fall in the ball and withstand a wider one"),
        )
        if many > max(2, NOT_MONOTONE * counts.monotone_asked)
    ]


def _more_than_a_function(counts: Counts) -> list[Finding]:
    """What speaks for a memory, for a table, or for a surrogate of something else."""
    found: list[Finding] = []
    if counts.fresh_changed > ALLOWED_CHANGES * counts.fresh_asked:
        found.append(
            Finding(
                "remembering",
                f"{counts.fresh_changed} of {counts.fresh_asked} images are answered otherwise by a copy of the model "
                "that has seen no other; it is random, or keeps a memory",
            )
        )
    if counts.elsewhere_other > max(2, ELSEWHERE * counts.elsewhere_compared):
        found.append(
            Finding(
                "memorised",
                f"around {counts.elsewhere_other} of {counts.elsewhere_compared} images the logits move far less, or "
                "far more, than around the same images a little aside; the model knows the images it is tested on",
            )
        )
    if counts.surrogate_withstood > max(2, ASTRAY * counts.surrogate_fooled):
        found.append(
            Finding(
                "surrogate-disagrees",
                f"{counts.surrogate_withstood} of {counts.surrogate_fooled} samples that fool the surrogate do not "
                "fool the model; the white box attacks another function, or one that is not all there is",
            )
        )
    return found
