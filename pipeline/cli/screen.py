"""`teachers`."""

from __future__ import annotations

from typing import Annotated

import typer

from .app import app
from .arguments import AsJson, DataRoot
from .output import answer


@app.command()
def teachers(
    candidates: Annotated[
        list[str],
        typer.Argument(
            help="Checkpoints, MODEL=FILE for those that do not name their model, package.module:function, "
            "or robustbench/<Name>."
        ),
    ],
    dataset: Annotated[
        str, typer.Option(help="The data set whose validation and training images are asked; never its test images.")
    ],
    eps: Annotated[str, typer.Option(help="Radius of the ball: a number, or a fraction such as 8/255.")],
    norm: Annotated[str, typer.Option(help="Linf or L2.")] = "Linf",
    samples: Annotated[int, typer.Option(help="How many images, half of them validation images.")] = 512,
    steps: Annotated[int, typer.Option(help="PGD steps.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample draw and of the attack.")] = 0,
    model: Annotated[str | None, typer.Option(help="The model of checkpoints that do not name theirs.")] = None,
    data_root: DataRoot = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Resize the images (gtsrb, eurosat, imagefolder).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Screen teachers on a data sample: clean accuracy, PGD accuracy, and entropy on hard images."""
    from ..commands.teachers import rank_teachers, show_teachers
    from ..progress import Reporter

    result = rank_teachers(
        candidates,
        dataset=dataset,
        eps=eps,
        norm=norm,
        samples=samples,
        steps=steps,
        seed=seed,
        model=model,
        data_root=data_root,
        image_size=image_size,
        reporter=Reporter(quiet=as_json),
    )
    answer(result, as_json, show_teachers)
