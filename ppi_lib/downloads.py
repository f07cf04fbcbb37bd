"""Published files: downloaded once from a pinned address, known by their digest, and kept.

The variable PPI_DATA_HOME names the folder that holds a folder for each dataset; a file that lies there and has the
right digest is used without a network. A download that was cut off goes on where it was.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pooch
import requests

from ppi_lib.errors import InputError

_PATIENCE = 10


def file_digest(path: Path, like: str) -> str:
    """Return a file's digest of the same kind as `like`: SHA-256, or git's blob id (SHA-1), which has 40 digits."""
    if len(like) == 40:
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return pooch.file_hash(path)


def fetch_files(name: str, address: str, digests: Mapping[str, str]) -> Path:
    """Return the folder `name` with the files of `digests`, downloaded from `address` where they aren't there yet."""
    folder = Path(os.environ.get("PPI_DATA_HOME") or pooch.os_cache("ppi_lib")) / name
    for file, digest in digests.items():
        path = folder / file
        if not path.is_file():
            _download(name, address + file, path, digest)
        elif file_digest(path, digest) != digest:
            kind = "git blob id" if len(digest) == 40 else "SHA-256"
            raise InputError(
                f"{path}: its {kind} isn't {digest}, so it isn't the published file. "
                f"Delete it to have it downloaded again, or put {address + file} there."
            )
    return folder


def _download(name: str, address: str, path: Path, digest: str) -> None:
    known = f"sha256:{digest}" if len(digest) == 64 else None  # pooch knows no blob ids: the downloader checks
    downloader = _Resuming(path.with_name(path.name + ".part"), digest)
    try:
        pooch.retrieve(address, known, path.name, path.parent, downloader=downloader)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{name}: {address} couldn't be downloaded to {path.parent} ({_reason(error)}). Put the file there by "
            f"hand, or set PPI_DATA_HOME to a folder that has it as {name}/{path.name}."
        ) from None  # what was wrong is said; below it lie ten frames of other libraries


def _reason(error: Exception) -> object:
    """Return what went wrong; requests wraps it in urllib3's account of its trials, which repeats the address."""
    return getattr(error.args[0] if error.args else None, "reason", None) or error


class _Resuming:
    """Downloads for pooch by way of the file `part`, some of which may be there already."""

    def __init__(self, part: Path, digest: str):
        self.part, self.digest = part, digest

    def __call__(self, address: str, target: str, _pooch) -> None:
        start = self.part.stat().st_size if self.part.is_file() else 0
        # compressed on the way, a range would count compressed bytes
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        with requests.get(address, headers=headers, stream=True, timeout=_PATIENCE) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                self.part.unlink()  # the next try begins anew
            answer.raise_for_status()
            resumed = answer.status_code == requests.codes.partial_content
            with open(self.part, "ab" if resumed else "wb") as file:
                for chunk in answer.iter_content(2**16):
                    file.write(chunk)
        if file_digest(self.part, self.digest) != self.digest:
            self.part.unlink()
            raise ValueError(f"what came has another digest than {self.digest}")
        os.replace(self.part, target)
