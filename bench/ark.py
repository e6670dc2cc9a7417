"""Reading arrays in shuffled order from one process, page cache warm: our store against kaldiio.

  python -m bench.ark
  python -m bench.ark --megabytes 4000 --folder DIR    # on another disk

Spectrograms of 1 to 15 s, 161 values a frame. GB/s count the float32 values that come out. kaldiio is used in its two
usual ways, the lazy dictionary of `load_scp` and `load_mat` of each entry; ours checks key and shape of each record.
Times are processor time, system calls included.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kaldiio
import numpy as np

from bench.common import parser, ratio, report, time_in_turns
from sertoolkit.storage.ark import ArkReader, ArkWriter

DIM = 161
OURS = "sertoolkit ArkReader"


def main() -> None:
    """Measure float32 and 16-bit stores."""
    made = parser(__doc__)
    made.add_argument(
        "--megabytes", type=float, default=400, help="float32 values of a store; leave it memory"
    )
    made.add_argument(
        "--folder", type=Path, help="where the stores are written for a while; default: temporary"
    )
    made.add_argument("--rounds", type=int, default=5)
    arguments = made.parse_args()
    megabytes, rounds = (1.0, 1) if arguments.tiny else (arguments.megabytes, arguments.rounds)
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for compress in (False, True):
            store = Path(folder, "16bit" if compress else "float32").resolve()
            count = _write(store, megabytes, compress=compress)
            rows += _measure(store, count, rounds)
    settings = {"megabytes": megabytes, "dim": DIM, "rounds": rounds, "clock": "processor time, one thread"}
    report("ark", rows, settings=settings, arguments=arguments)


def _write(store: Path, megabytes: float, *, compress: bool) -> int:
    """Fill a store; bytes of its values as float32."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(1500, DIM)).astype(np.float32)
    written = 0
    with ArkWriter(store, {"kind": "benchmark"}, compress=compress) as writer:
        while written < megabytes * 1e6:
            array = values[: generator.integers(100, 1501)]
            writer.write(f"utt-{written:012d}", array)
            written += array.nbytes
    return written


def _measure(store: Path, count: int, rounds: int) -> list[dict[str, Any]]:
    order = random.Random(0)
    reader = ArkReader(store)
    # with whole paths, as kaldiio needs them from any working directory
    text = (store / "feats.scp").read_text(encoding="utf-8").replace(" feats.ark", f" {store / 'feats.ark'}")
    (store / "whole.scp").write_text(text, encoding="utf-8")
    lazy = kaldiio.load_scp(str(store / "whole.scp"))
    places = dict(line.split() for line in text.splitlines())

    def shuffled(read: Callable[[str], np.ndarray]) -> Callable[[], None]:
        def run() -> None:
            utt_ids = list(places)
            order.shuffle(utt_ids)
            for utt_id in utt_ids:
                read(utt_id)

        return run

    contestants = {
        OURS: shuffled(reader.__getitem__),
        "kaldiio load_scp": shuffled(lazy.__getitem__),
        "kaldiio load_mat": shuffled(lambda utt_id: kaldiio.load_mat(places[utt_id])),
    }
    seconds = time_in_turns(contestants, rounds=rounds, clock=time.process_time)
    return [
        {
            "store": store.name,
            "by": name,
            "GB/s": count / 1e9 / statistics.median(seconds[name]),
            "ours is faster by": ratio(seconds[name], seconds[OURS]) if name != OURS else None,
        }
        for name in contestants
    ]


if __name__ == "__main__":
    main()
