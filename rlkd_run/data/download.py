"""Fetch a published archive: checked, and all or nothing."""

from __future__ import annotations

import hashlib
import http.client
import tarfile
import tempfile
import urllib.request
from pathlib import Path

from tqdm import tqdm

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30


class DownloadError(Exception):
    """Why an archive could not be fetched, in a few words."""


def download_folder(url: str, md5: str, folder: Path) -> None:
    """Fetch a gzipped tar archive that holds one folder and put that folder in its place.

    The archive is unpacked next to `folder` and moved there as a whole, so that a run that is killed on the way
    leaves nothing that looks like data, and two runs may fetch at the same time.

    Args:
        url: of the archive.
        md5: expected sum of the archive, as published.
        folder: what comes out; its name is the archive's top folder. Its parents are made once the server answers.

    Raises:
        DownloadError: no network, wrong sum, disk full or read-only.
    """
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
                archive = Path(scratch, "archive.tar.gz")
                _save(response, archive, md5)
                with tarfile.open(archive) as tar:
                    # Python before 3.11.4 has no filters; the archive's sum is right in any case.
                    tar.extraction_filter = getattr(tarfile, "data_filter", None)
                    tar.extractall(scratch)
                _move(Path(scratch, folder.name), folder)
    except (OSError, http.client.HTTPException, tarfile.TarError) as error:
        raise DownloadError(str(getattr(error, "reason", None) or error)) from error


def _save(response: http.client.HTTPResponse, file: Path, md5: str) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    size = int(response.headers.get("Content-Length", 0)) or None
    # disable=None: no bar where nobody looks at a terminal.
    bar = tqdm(total=size, unit="B", unit_scale=True, desc=response.url.rpartition("/")[2], disable=None)
    with file.open("wb") as out, bar:
        while chunk := response.read(_CHUNK):
            digest.update(chunk)
            out.write(chunk)
            bar.update(len(chunk))
    if digest.hexdigest() != md5:
        raise DownloadError(f"what {response.url} sent has the MD5 sum {digest.hexdigest()}, not {md5}")


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:  # there is a folder: another run was faster, with the same files, or others lie in it
        if not target.is_dir():
            raise
        for file in source.iterdir():
            file.replace(target / file.name)
