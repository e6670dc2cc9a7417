"""Headers of many audio files at once."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from sertoolkit.audio.read import AudioInfo, probe
from sertoolkit.errors import AudioError


def probe_all(paths: Iterable[str], *, num_jobs: int) -> dict[str, AudioInfo | AudioError]:
    """What the header of each file says, or why it cannot be used.

    Args:
        paths: audio files
        num_jobs: threads that wait for the disk side by side

    Returns:
        by path
    """

    def look(path: str) -> AudioInfo | AudioError:
        try:
            return probe(path)
        except AudioError as error:
            return error

    paths = list(paths)
    with ThreadPoolExecutor(num_jobs) as pool:
        found = tqdm(
            pool.map(look, paths), total=len(paths), desc="audio headers", unit="file", mininterval=1
        )
        return dict(zip(paths, found, strict=True))
