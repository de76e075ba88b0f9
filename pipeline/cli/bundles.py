"""Command line of `bundle`, `verify-bundle`, `card`, `evidence`, `pack`, `replay`, `device`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...core.atomic_write import write_atomically
from ...core.errors import UsageError
from .app import app
from .arguments import AsJson, TargetOption
from .from_function import Call, asks
from .output import answer


@app.command()
@asks("bundle.make_bundle:make_bundle", without=(), engines="--engine", license_name="--license")
def bundle(make: Call, as_json: AsJson = False) -> None:
    """Put a finished run's engines, ONNX files, adversarial examples and report together, to be carried to a device."""
    from ..bundle.make_bundle import show_bundle

    answer(make(), as_json, show_bundle)


@app.command("verify-bundle")
def verify_bundle(
    bundle: Annotated[Path, typer.Argument(help="A folder or an archive, as `edgeproof bundle` wrote it.")],
    key: Annotated[Path | None, typer.Option(help="The signer's public key, in PEM.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check every digest of a bundle, its signature, and that its report is about its engines; exit 1 when not."""
    from ..bundle.verify_bundle import show_verified
    from ..bundle.verify_bundle import verify_bundle as run

    result = run(bundle, key)
    answer(result, as_json, show_verified)
    raise typer.Exit(result["exit_code"])


@app.command()
@asks("card.make_card:model_card", without=(), license_name="--license")
def card(
    make: Call,
    out: Annotated[Path | None, typer.Option(help="Where the card goes (default: standard output).")] = None,
) -> None:
    """Write the model card of a finished run, in the format of the Hugging Face hub."""
    text = make()
    if out is None:
        print(text, end="")
        return
    try:
        write_atomically(out, text)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written ({error.strerror})") from None
    print(out)


@app.command()
@asks("evidence.make_evidence:make_evidence", without=())
def evidence(make: Call, as_json: AsJson = False) -> None:
    """Write what auditors and policy engines read of a finished run: evidence by clause, an in-toto test result."""
    from ..evidence.make_evidence import show_evidence

    answer(make(), as_json, show_evidence)


@app.command()
@asks("pictures.adversarial_images:save_pictures", without=())
def pack(make: Call, as_json: AsJson = False) -> None:
    """Write the adversarial images of a finished run as PNG files: clean, adversarial, difference, a contact sheet."""
    from ..pictures.adversarial_images import show_pictures

    answer(make(), as_json, show_pictures)


@app.command()
def replay(
    pack: Annotated[
        Path, typer.Argument(metavar="BUNDLE|PACK", help="A bundle, or adversarial/<subject>.npz of a finished run.")
    ],
    engine: Annotated[
        Path | None,
        typer.Argument(
            help="The engine or ONNX file that it is shown to. Of a bundle: an engine that was built from its ONNX "
            "file on this device (default: the bundle's own, or one that is built here)."
        ),
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Which engine of a bundle (default: its only one).")] = None,
    target: Annotated[
        str | None, typer.Option(help="The runtime that runs it (default: the bundle's, else onnxruntime).")
    ] = None,
    options: TargetOption = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Of a bundle: write all images for a device without edgeproof into this .npy file, and end."),
    ] = None,
    logits: Annotated[
        Path | None, typer.Option(help="Of a bundle: what such a device answered to them, an .npy file.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="With a bundle: how reports call this device.")] = None,
    out: Annotated[Path, typer.Option(help="With a bundle: where the device's report goes.")] = Path(
        "device-report.json"
    ),
    keep: Annotated[Path, typer.Option(help="With a bundle: where engines are kept that are built here.")] = Path(
        "device-engines"
    ),
    as_json: AsJson = False,
) -> None:
    """Show an engine the adversarial examples of a run, on its device; needs no torch. Exit 1 when samples are lost."""
    from ..bundle.archive import is_bundle

    if not is_bundle(pack):
        if images is not None or logits is not None:
            raise UsageError(f"--images and --logits are of a bundle, and {pack} is none")
        _replay_pack(pack, engine, subject, target, options, as_json)
    if images is not None:
        from ..bundle.device.offline import export_images, show_images

        answer(export_images(pack, images), as_json, show_images)
        return
    from ..bundle.device.printing import show_device
    from ..bundle.device.replay_bundle import replay_bundle

    result = replay_bundle(
        pack,
        engine,
        subject=subject,
        target=target,
        options=options or (),
        logits=logits,
        device=device,
        out=out,
        keep=keep,
    )
    answer(result, as_json, show_device)
    if not as_json:
        print(f"device report: {out}")
    raise typer.Exit(result["exit_code"])


def _replay_pack(
    pack: Path, engine: Path | None, subject: str | None, target: str | None, options: list[str] | None, as_json: bool
) -> None:
    from ..bundle.device.replay_pack import replay as run
    from ..bundle.device.replay_pack import show_replay

    if engine is None:
        raise UsageError(f"{pack}: no bundle; name the engine that the pack is shown to after it")
    if subject is not None:
        raise UsageError(f"--subject: picks from a bundle, and {pack} is none")
    result = run(pack, engine, target=target or "onnxruntime", options=options or ())
    answer(result, as_json, show_replay)
    raise typer.Exit(result["exit_code"])


@app.command()
def device(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    report: Annotated[Path, typer.Argument(help="device-report.json, as `edgeproof replay BUNDLE` wrote it.")],
    as_json: AsJson = False,
) -> None:
    """Add what a device replayed to the run's report; a device that lost samples fails it."""
    from ..bundle.device.bring_back import bring_back
    from ..bundle.device.printing import show_devices

    found = bring_back(run, report)
    answer(found.data, as_json, show_devices)
    raise typer.Exit(found.exit_code)
