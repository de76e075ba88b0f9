"""Bundle integrity: every file of `bundle.json` there, none altered, none besides."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ...core.errors import UsageError
from ...core.model_file import sha256_of
from .contents import CONTENTS, SIGNATURE, Contents, read_contents


def checked_contents(folder: Path, bundle: Path) -> Contents:
    """Read a bundle's contents and hold every file against them, before anything of it is used.

    Args:
        folder: where its files lie.
        bundle: what the user named, for messages.

    Raises:
        UsageError: names the first file that is missing, altered, a link, or not listed.
    """
    contents = read_contents(folder / CONTENTS, bundle / CONTENTS)
    for problem in problems(folder, contents, bundle):
        raise UsageError(problem)
    return contents


def problems(folder: Path, contents: Contents, bundle: Path) -> Iterator[str]:
    """Everything that is not as `bundle.json` says, one sentence each; arguments as of `checked_contents`."""
    standing = set[str]()
    for path in _walk(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            yield f"{bundle / name}: a symbolic link; a bundle has none"
        standing.add(name)
    listed = {file.path: file for file in contents.files}
    for name, file in listed.items():
        path = folder / name
        if path.is_symlink() or any((folder / parent).is_symlink() for parent in Path(name).parents):
            continue  # said above
        if name not in standing:
            yield f"{bundle / name}: missing; {CONTENTS} lists it"
        elif path.stat().st_size != file.size or sha256_of(path) != file.sha256:
            yield f"{bundle / name}: altered or truncated; {CONTENTS} lists another SHA-256"
    for name in sorted(standing - {*listed, CONTENTS, SIGNATURE}):
        if not (folder / name).is_symlink():
            yield f"{bundle / name}: not listed in {CONTENTS}; a bundle holds nothing else"


def _walk(folder: Path) -> Iterator[Path]:
    """Every file, and every link to whatever."""
    for parent, folders, files in os.walk(folder, followlinks=False):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        yield from (Path(parent) / name for name in sorted([*links, *files]))
