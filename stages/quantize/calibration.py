"""Calibration: the images that a job's activation ranges are found on, and what the report says of them."""

from __future__ import annotations

import json

from ...targets.base import Images
from ..twin import load_twin
from .calibration_images import calibration_sample
from .precisions.base import Job

CALIBRATION = "calibration.json"


def calibrate(job: Job) -> Images:
    """Return the calibration images `[N, C, H, W]`, and write what the report says of them as `calibration.json`.

    Raises:
        UsageError: an image is not finite, or lies outside [0, 1].
    """
    calibration = job.calibration
    attacked = None if calibration.images == "clean" else load_twin(job.float_model)
    sample = calibration_sample(job.dataset, calibration, job.threat, attacked)
    record = sample.record(calibration, job.dataset.class_names)
    for warning in record["warnings"]:
        job.notice(warning)
    record |= {"scheme": job.scheme.name, "method": calibration.method, "images": calibration.images}
    (job.folder / CALIBRATION).write_text(json.dumps(record, indent=1))
    return sample.split.images
