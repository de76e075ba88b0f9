"""What the verifier counts to distrust itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class Counts:
    """What the verifier counts to distrust itself; shards add up.

    Attributes:
        clean_agreeing: clean images on which twin and engine give the same label.
        clean_compared: how many were compared (0 without a twin).
        adversarial_agreeing: candidates on which they do.
        adversarial_compared: how many were compared.
        surrogate_fooled: samples whose candidates fool the surrogate that stands in for a twin.
        surrogate_withstood: those of them that are robust.
        missed_by_white_box: samples that a route without gradients broke and the white box does not; the probe's search
            counts by itself.
        missed_by_strong: those of them that the white box with more restarts does not break either.
        search_missed: samples that the probe's search broke and neither white box nor averaged gradients do.
        search_missed_by_strong: those of them that the white box with more restarts does not break either.
        standing: samples that the white box left standing.
        huge_eps_attacked: samples attacked at a huge eps.
        huge_eps_survived: those that survived it.
        unstable: samples whose label, or logits by far, depend on the batch they stand in, or change when asked again.
        asked_again: images that were asked about before and after the attacks.
        changed: those of them whose logits moved.
        fresh_asked: images that a copy of the model was asked about which had seen no other.
        fresh_changed: those of them that it answered otherwise.
        flat: samples whose logits are the same to the last bit all over the ball, as far as was looked.
        flat_compared: how many were looked at.
        elsewhere_compared: robust samples whose logits were compared around the image and around the same image aside.
        elsewhere_other: those around which they move by far more, or by far less.
        hidden: robust samples on which the graph's inner logits are fooled and its answer is not.
        inner_agreeing: clean images on which inner logits and answer give the same label.
        inner_compared: how many were compared (0 where nothing hides the inner logits).
        failing: images at which the model crashed, hung or raised.
        gradients_asked: samples at which gradients were asked for.
        gradients_gone: those of them at which all were zero, or no numbers.
        monotone_asked: samples that were attacked in fewer steps and in a wider ball.
        fewer_steps_better: those that fell to fewer steps and not to more.
        wider_ball_worse: those that fell in the ball and not in the wider one.
    """

    clean_agreeing: int = 0
    clean_compared: int = 0
    adversarial_agreeing: int = 0
    adversarial_compared: int = 0
    surrogate_fooled: int = 0
    surrogate_withstood: int = 0
    missed_by_white_box: int = 0
    missed_by_strong: int = 0
    search_missed: int = 0
    search_missed_by_strong: int = 0
    standing: int = 0
    huge_eps_attacked: int = 0
    huge_eps_survived: int = 0
    unstable: int = 0
    asked_again: int = 0
    changed: int = 0
    fresh_asked: int = 0
    fresh_changed: int = 0
    flat: int = 0
    flat_compared: int = 0
    elsewhere_compared: int = 0
    elsewhere_other: int = 0
    hidden: int = 0
    inner_agreeing: int = 0
    inner_compared: int = 0
    failing: int = 0
    gradients_asked: int = 0
    gradients_gone: int = 0
    monotone_asked: int = 0
    fewer_steps_better: int = 0
    wider_ball_worse: int = 0

    def __add__(self, other: Counts) -> Counts:
        mine, theirs = asdict(self), asdict(other)
        return Counts(**{name: mine[name] + theirs[name] for name in mine})
