"""Bundle signature in the format of OpenSSF's `model-signing`: by a key pair, without a network."""

# An extra: not everybody who checks types has it.
# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path
from typing import Any

from ...core.errors import BackendMissing, UsageError, reason_of
from .contents import SIGNATURE

_NAMES = "an elliptic-curve key in PEM, as `openssl ecparam -genkey -name prime256v1 -noout` writes it"


def sign_bundle(folder: Path, key: Path) -> bytes:
    """Sign a bundle's folder with a private key; return what goes into `bundle.sig`.

    Args:
        folder: holds all files of the bundle, and nothing else.
        key: the private key, in PEM: an elliptic curve's (P-256, P-384, P-521).

    Raises:
        BackendMissing: `model-signing` is not installed.
        UsageError: the key is missing, or no such key.
    """
    signing, hashing, _ = _library()
    if not key.is_file():
        raise UsageError(f"--sign {key}: no such file")
    signature = folder.parent / f"{folder.name}.sig"
    try:
        # Everything counts, also what a git repository would carry of its own.
        config = signing.Config().use_elliptic_key_signer(private_key=key)
        config.set_hashing_config(_all_but(hashing)).sign(folder, signature)
        return signature.read_bytes()
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise UsageError(f"--sign {key}: {reason_of(error)}; wanted is {_NAMES}") from None
    finally:
        signature.unlink(missing_ok=True)


def signature_problem(folder: Path, key: Path) -> str:
    """Say what is wrong with a bundle's signature; an empty text where it holds.

    Args:
        folder: the bundle, its `bundle.sig` included.
        key: the signer's public key, in PEM.

    Raises:
        BackendMissing: `model-signing` is not installed.
        UsageError: the key is missing, or no such key.
    """
    _, hashing, verifying = _library()
    if not key.is_file():
        raise UsageError(f"--key {key}: no such file")
    signature = folder / SIGNATURE
    if not signature.is_file():
        return f"{SIGNATURE}: the bundle is not signed"
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise UsageError(f"--key {key}: {reason_of(error)}; wanted is the public half of {_NAMES}") from None
    try:
        config.set_hashing_config(_all_but(hashing, SIGNATURE)).verify(folder, signature)
    except Exception as error:  # the library and cryptography under it raise families of their own
        return f"{SIGNATURE}: not of this key, or of other files ({reason_of(error)})"
    return ""


def _all_but(hashing: Any, *names: str) -> Any:
    return hashing.Config().set_ignored_paths(paths=names, ignore_git_paths=False)


def _library() -> tuple[Any, Any, Any]:
    try:
        from model_signing import hashing, signing, verifying
    except ImportError as error:
        raise BackendMissing(f"signatures: {error}; install it with: pip install 'edgeproof[sign]'") from None
    return signing, hashing, verifying
