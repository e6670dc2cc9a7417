"""The mini recipes from end to end at a small size: the table, resume after kills, damage, bad input."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = "baseline-96 mp-1 rnn-2 progressive-2"
SUMMARY = "ser/exp/ser/variant"  # four systems are fewer than the recipe's own
TSV = f"{SUMMARY}/table.tsv"
# What must come out the same bytes, however often the work was killed: all but logs, stamps and the time it took.
ASR_RESULTS = (
    "asr/corpus/**/*",
    "asr/data/*/*",
    "asr/dump/*/*/*",
    "asr/exp/asr/*.safetensors",
    "asr/exp/asr/tokens/*",
    "asr/exp/asr/variant/*/*",
)
SER_RESULTS = (
    "ser/dump/encoded/**/*",
    TSV,
    "ser/exp/ser/*/*/*/predictions.*.tsv",
    "ser/exp/ser/**/*.safetensors",
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def table_of(output: str) -> list[str]:
    """The printed table, line by line."""
    found = re.search(r"^system +accuracy.*?\n\n", output, re.DOTALL | re.MULTILINE)
    assert found, output
    return found[0].splitlines()


def ran(output: str, recipe: str = "mini/ser") -> list[str]:
    return re.findall(rf"{recipe}: Stage -?\d+ (\w+): done in", output)


def leftovers(folder: Path) -> list[Path]:
    """What an interrupted step leaves and a later one has to clear away."""
    endings = (".tmp", ".started", ".part")
    return [p for p in folder.rglob("*") if p.name.endswith(endings) or p.name.startswith("checkpoint-")]


def flip_byte(path: Path, place: float = 0.9) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 0x10
    path.write_bytes(data)


# The whole line


def test_the_line_ends_with_a_table_of_all_systems_and_of_chance(line) -> None:
    rows = [row.split()[0] for row in table_of(line.output)[2:] if row]
    assert rows == ["most-frequent", "random", *SYSTEMS.split()]
    report = (line.folder / "ser/RESULTS.md").read_text()
    assert all(name in report for name in rows)
    assert "egs/mini/ser/run.sh" in report
    assert re.search(r"test: CER +\d+\.\d % +WER", line.output)
    assert not leftovers(line.folder)


def test_the_recogniser_has_a_report_of_its_own(line) -> None:
    report = (
        line.folder / "asr/exp/asr/variant/RESULTS.md"
    ).read_text()  # two epochs are not the recipe's own
    rates = re.search(r"test: CER +(\d+\.\d) % +WER +(\d+\.\d) % +of (\d+) utterances", line.output).groups()
    assert re.search(r"^\| test \| {2} \| [\d,]+ \| {0} \| {1} \|".format(*rates), report, re.MULTILINE)
    assert re.search(r"^\| epochs \| 2, epoch [12] kept \|", report, re.MULTILINE)
    assert re.search(r"^\| peak memory \| the process \d[\d,]* MiB \|", report, re.MULTILINE)
    assert "egs/mini/asr/run.sh" in report


def test_a_system_of_ten_folds_tests_each_utterance_once(line) -> None:
    labels = dict(row.split() for row in (line.folder / "ser/data/all/utt2emo").read_text().splitlines())
    expected = sorted(
        utt_id for utt_id, label in labels.items() if label in ("ang", "hap", "exc", "neu", "sad")
    )
    for system in SYSTEMS.split():
        files = sorted((line.folder / f"ser/exp/ser/{system}").glob("*/seed-1/predictions.test.tsv"))
        tested = [row.split("\t")[0] for path in files for row in path.read_text().splitlines()[1:]]
        assert len(files) == 10
        assert sorted(tested) == expected


def test_a_bundle_works_alone_on_any_audio(line, tmp_path: Path) -> None:
    wav = Path((line.folder / "ser/data/all/wav.scp").read_text().split(maxsplit=2)[1])
    samples, rate = soundfile.read(wav)
    times = np.arange(0, len(samples) / rate, 1 / 44100)
    wide = np.interp(times, np.arange(len(samples)) / rate, samples)
    soundfile.write(tmp_path / "stereo.wav", np.stack([wide, 0.5 * wide], 1), 44100)
    for bundle in ("asr/exp/asr/asr.safetensors", f"{SUMMARY}/ser.safetensors"):
        shutil.copy(line.folder / bundle, tmp_path)  # nothing else of the experiment is needed
    audio = [str(wav), str(tmp_path / "stereo.wav")]
    bundle = str(tmp_path / "ser.safetensors")
    output = line.call(["sertoolkit", "predict", "--model", bundle, *audio])
    header, *rows = (row.split("\t") for row in output.splitlines() if "\t" in row)
    assert header == ["audio", "predicted", "anger", "happiness", "neutral", "sadness"]
    assert [row[0] for row in rows] == audio
    posteriors = np.array([row[2:] for row in rows], dtype=float)
    assert posteriors.sum(1) == pytest.approx(1, abs=1e-3)
    assert [row[1] for row in rows] == [header[2 + k] for k in posteriors.argmax(1)]
    assert np.abs(posteriors[0] - posteriors[1]).max() < 0.05  # the same speech at another rate
    bundle = str(tmp_path / "asr.safetensors")
    output = line.call(["sertoolkit", "transcribe", "--asr_exp", bundle, *audio])
    heard = dict(row.split("\t") for row in output.splitlines() if "\t" in row)
    assert list(heard) == audio
    assert all(re.fullmatch(r"[A-Z' ]*", text) for text in heard.values())


def test_the_commands_that_the_line_ends_with_can_be_pasted(line) -> None:
    transcribe, predict = re.findall(r"try: (.*)", line.output)
    assert transcribe.startswith("bin/sertoolkit transcribe --asr_exp asr/exp/asr/asr.safetensors ")
    assert predict.startswith(f"bin/sertoolkit predict --model {SUMMARY}/ser.safetensors ")
    for command in (transcribe, predict):
        assert command.split()[-1] in line.call(["bash", "-c", command])
    wavs = dict(row.split() for row in (line.folder / "ser/data/all/wav.scp").read_text().splitlines())
    (first, *_) = sorted((line.folder / "ser/exp/ser/protocol/folds").glob("*.tsv"))
    classified = {row.split("\t")[0] for row in first.read_text().splitlines()[1:]}
    assert predict.split()[-1] in {wavs[utt_id] for utt_id in classified}


def test_a_variant_says_so_and_touches_nothing_of_the_recipes_own(line) -> None:
    assert "a variant: other settings, or fewer systems, folds or seeds" in line.output
    exp = line.folder / "ser/exp/ser"
    assert not [
        name for name in ("table.tsv", "scores.json", "analysis", "ser.safetensors") if (exp / name).exists()
    ]


def test_what_a_bundle_predicts_is_what_its_member_predicted(line) -> None:
    output = line.call(["sertoolkit", "pack", "--ser_exp", "ser/exp/ser", "--system", "rnn-2", "--asr_exp",
                        "asr/exp/asr", "--out", "rnn.safetensors"])  # fmt: skip
    member = Path(output.strip().splitlines()[-1].split(": ")[-1])
    rows = (line.folder / member / "predictions.test.tsv").read_text().splitlines()[1:4]
    wavs = dict(row.split() for row in (line.folder / "ser/data/all/wav.scp").read_text().splitlines())
    audio = [wavs[row.split("\t")[0]] for row in rows]
    output = line.call(["sertoolkit", "predict", "--model", "rnn.safetensors", *audio])
    heard = [row.split("\t")[2:] for row in output.splitlines() if row.startswith("/")]
    expected = np.array([row.split("\t")[3:] for row in rows], dtype=float)
    assert np.array(heard, dtype=float) == pytest.approx(expected, abs=2e-4)  # of four printed digits


# Started again


def test_started_again_everything_is_skipped_in_moments(line) -> None:
    before = line.contents("ser/**/*")
    start = time.monotonic()
    output = line.run("ser")
    assert time.monotonic() - start < 15  # one second on an idle machine
    assert "mini/asr: done in" in output
    assert "0 of 7 stages ran" in output
    assert "0 of 9 stages ran" in output
    assert line.contents("ser/**/*") == before


def test_stage_5_scores_again_and_prints_the_same_table(copied, line) -> None:
    output = copied.run("ser", "--stage", "5")
    assert ran(output) == ["score", "analyse", "report", "pack"]
    assert table_of(output) == table_of(line.output)
    assert copied.contents(TSV, *SER_RESULTS) == line.contents(TSV, *SER_RESULTS)


def test_status_says_what_is_done_and_a_changed_generator_makes_the_data_stale(
    copied, tmp_path: Path
) -> None:
    output = copied.run("ser", "--status")
    assert re.findall(r"^ *\d+ +\w+ +(\w+)", output, re.MULTILINE) == ["done"] * 9
    for recipe in ("asr", "ser"):
        stamp = (copied.folder / recipe / "data" / f".stage_mini_{recipe}_data.json").read_text()
        for script in ("espeak.py", "sentences.py", "data.sh"):
            assert f'"{script}"' in stamp


# Killed


def kill_in(line, recipe: str, stage: str, draw: random.Random, seconds: int, *, group: bool = False) -> str:
    """Start a recipe and kill it at a random moment of a stage; its output till then.

    With ``group``, only the process group that the user sees (run.sh) is killed, as by a terminal that is closed.
    """
    command = line.command(recipe)
    process = line.start(command)
    try:
        begun = re.compile(rf"mini/{recipe}: Stage \d+ {stage}: (?!up to date|done|failed)")
        line.wait_until(process, lambda: begun.search(line.log()))
        delay = draw.uniform(0, max(1.0, seconds))
        end = time.monotonic() + delay
        while time.monotonic() < end and f"{stage}: done in" not in line.log():
            time.sleep(0.02)
        print(f"killing {stage} of {recipe} after {delay:.2f} s of {seconds}")
        assert process.poll() is None, line.log()
        if group:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    finally:
        if not group:
            line.kill_session(process)
    return line.log()


def random_moments() -> random.Random:
    """A generator whose seed is printed with a failure; SERTOOLKIT_TEST_SEED repeats it."""
    seed = int(os.environ.get("SERTOOLKIT_TEST_SEED", time.time_ns() % 10**6))
    print(f"SERTOOLKIT_TEST_SEED={seed}")
    return random.Random(seed)


def test_a_recogniser_killed_in_three_stages_ends_with_the_same_bytes(line, new_line) -> None:
    draw = random_moments()
    killed = new_line()
    for number, stage in enumerate(("data", "features", "train")):
        kill_in(killed, "asr", stage, draw, line.seconds[f"asr {stage}"], group=number == 0)
    killed.run("asr")
    expected, found = line.contents(*ASR_RESULTS), killed.contents(*ASR_RESULTS)
    assert sorted(found) == sorted(expected)
    assert [path for path in expected if found[path] != expected[path]] == []
    assert not leftovers(killed.folder)


def test_emotion_systems_killed_in_two_stages_end_with_the_same_table(copied, line) -> None:
    draw = random_moments()
    shutil.rmtree(copied.folder / "ser/dump/encoded")
    shutil.rmtree(copied.folder / "ser/exp")
    for stage in ("encode", "train"):
        kill_in(copied, "ser", stage, draw, line.seconds[f"ser {stage}"])
    output = copied.run("ser")
    assert table_of(output) == table_of(line.output)
    expected, found = line.contents(*SER_RESULTS), copied.contents(*SER_RESULTS)
    assert sorted(found) == sorted(expected)
    assert [path for path in expected if found[path] != expected[path]] == []
    assert not leftovers(copied.folder)


def test_sigterm_saves_a_checkpoint_and_a_damaged_one_is_named_and_passed_over(copied, line) -> None:
    exp = copied.folder / "asr/exp/asr"
    for path in exp.iterdir():
        if path.name not in ("tokens", ".stage_mini_asr_tokens.json"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    process = copied.start(copied.command("asr"))
    copied.wait_until(process, lambda: len(list(exp.glob("checkpoint-*"))) == 2)
    process.terminate()
    assert process.wait(60) == 143, copied.log()
    assert copied.session_of(process) == []
    assert "start the same command again to go on" in copied.log()
    assert not (exp / "model.safetensors").exists()

    checkpoints = sorted(exp.glob("checkpoint-*.safetensors"))
    assert len(checkpoints) == 2
    whole = checkpoints[0].read_bytes()
    for path in checkpoints:
        flip_byte(path)
    output = copied.run("asr", code=1)
    assert "no checkpoint can be used" in output
    assert all(f"{path}: damaged" in output for path in checkpoints)

    checkpoints[0].write_bytes(whole)
    output = copied.run("asr")
    assert f"{checkpoints[1]}: damaged" in output
    assert f"going on from {checkpoints[0].name}" in output
    assert ran(output, "mini/asr") == ["train", "decode", "score", "pack"]
    models = ["asr/exp/asr/model.safetensors", "asr/exp/asr/asr.safetensors"]
    assert copied.contents(*models) == line.contents(*models)
    assert not leftovers(copied.folder)


# Damaged


def test_a_lost_ark_is_named_by_the_command_and_made_again_by_the_recipe(copied, line) -> None:
    ark = copied.folder / "ser/dump/mfcc_pitch/all/feats.ark"
    ark.unlink()
    output = copied.run("ser", "--stage", "train", code=1)
    assert re.search(r"sertoolkit train-ser: error: .*mfcc_pitch/all", output)
    assert f"output {ark} is missing" in copied.run("ser", "--status")
    output = copied.run("ser")
    assert ran(output)[0] == "features"
    patterns = ("ser/dump/**/*", *SER_RESULTS)
    assert copied.contents(*patterns) == line.contents(*patterns)


def test_a_flipped_byte_in_the_recogniser_is_named_and_removing_it_is_the_remedy(copied, line) -> None:
    model = copied.folder / "asr/exp/asr/model.safetensors"
    flip_byte(model)
    output = copied.run("ser", code=1)
    assert f"{model}: damaged" in output
    assert "remove it and make it again" in output
    model.unlink()
    output = copied.run("ser")
    assert ran(output) == []  # the same bytes again
    assert copied.contents(*ASR_RESULTS) == line.contents(*ASR_RESULTS)


@pytest.mark.parametrize("name", ["predictions.test.tsv"])  # weights: tests/training/test_grid.py
def test_a_damaged_member_is_named_and_trained_again(copied, line, name: str) -> None:
    path = copied.folder / "ser/exp/ser/mp-1/fold-03/seed-1" / name
    flip_byte(path)
    output = copied.run("ser")
    assert str(path) in output
    assert "1 members trained now" in output
    assert copied.contents(*SER_RESULTS) == line.contents(*SER_RESULTS)


# One's own


HEAD = '''
from dataclasses import dataclass
from sertoolkit.heads.base import Head
from sertoolkit.registry import register

@dataclass(frozen=True)
class LastConfig:
    dropout: float = 0.0

@register("head", "own")
class Last(Head):
    """Twice the pooled layer."""

    Config = LastConfig
    needs = frozenset({"pooled"})

    def __init__(self, config, *, layer_dims, side_dim, num_classes):
        super().__init__(
            config, layer_dims=layer_dims, side_dim=side_dim, num_classes=num_classes, num_values=layer_dims[0]
        )

    def represent(self, layers, lengths, side, side_lengths):
        return 2 * layers[0]
'''


def test_heads_from_files_named_by_option_and_by_yaml_train_and_stand_in_the_table(copied) -> None:
    (copied.folder / "own.py").write_text(HEAD)
    (copied.folder / "other.py").write_text(HEAD.replace('"own"', '"other"'))
    shipped = (ROOT / "egs/mini/ser/conf/ser.yaml").read_text()
    assert "systems:\n" in shipped
    (copied.folder / "own.yaml").write_text(
        shipped.replace(
            "systems:\n",
            "plugins: [other.py]\n\nsystems:\n  own-2: {head: own, layers: [2]}\n"
            "  other-2: {head: other, layers: [2]}\n",
        )
    )
    options = [
        "--plugin",
        "own.py",
        "--ser_config",
        "own.yaml",
        "--systems",
        "mp-1 own-2 other-2",
        "--ser_tag",
        "own",
    ]
    options += ["--folds", "fold-01 fold-02"]
    output = copied.run("ser", *options)
    assert [row.split()[0] for row in table_of(output)[2:] if row] == [
        "most-frequent",
        "random",
        "mp-1",
        "own-2",
        "other-2",
    ]
    exp = copied.folder / "ser/exp/ser_own"
    assert "own-2" in (copied.folder / "ser/RESULTS.md").read_text()  # named by --results
    wav = (copied.folder / "ser/data/all/wav.scp").read_text().split(maxsplit=2)[1]
    predict = ["sertoolkit", "predict", "--model", f"{exp}/ser.safetensors", wav]
    assert wav in copied.call([*predict, "--plugin", "other.py"])
    assert "'other'" in copied.call(predict, code=2)  # nothing is imported because a file names it

    (copied.folder / "own.py").write_text(HEAD.replace("2 * layers", "3 * layers"))
    output = copied.run("ser", *options, code=1)  # never a table of two different heads
    assert "own-2/fold-01/seed-1/member.yaml: made with another config" in output


@pytest.fixture
def own_recipe(copied) -> Callable[[Path], list[str]]:
    """README's way to one's own corpus: a copied recipe with a local/data.sh, here one that copies a data dir."""

    def make(data_dir: Path) -> list[str]:
        root = copied.folder / "project"
        recipe = root / "egs" / "own" / "ser"
        made = shutil.ignore_patterns("data", "dump", "exp", "downloads", "download.sh")
        shutil.copytree(ROOT / "egs/emodb/ser", recipe, ignore=made)
        for name in ("tools", "conf", "egs/TEMPLATE"):
            (root / name).symlink_to(ROOT / name)
        script = f"mkdir -p '{recipe}/data' && cp -r '{data_dir}' '{recipe}/data'\n"
        (recipe / "local/data.sh").write_text(script)
        protocol = str(ROOT / "conf/protocols/iemocap4-consensus.yaml")
        return [
            str(recipe / "run.sh"),
            "--systems",
            "baseline-96",
            "--folds",
            "fold-01",
            "--protocol",
            protocol,
        ]

    return make


def test_missing_transcripts_and_labels_are_named_at_once_by_the_stage_that_makes_the_data(
    copied, own_recipe
) -> None:
    data_dir = copied.folder / "ser/data/all"
    lost = {"text": (3, 7), "utt2emo": (5, 11)}
    names = {}
    for file, numbers in lost.items():
        rows = (data_dir / file).read_text().splitlines(keepends=True)
        names[file] = [rows[number].split()[0] for number in numbers]
        (data_dir / file).write_text("".join(row for n, row in enumerate(rows) if n not in numbers))
    output = copied.call(own_recipe(data_dir), code=1)
    assert "Stage 0 data: failed" in output
    for file, utt_ids in names.items():
        for utt_id in utt_ids:
            assert re.search(rf"{file}.*{utt_id}", output), output


def test_bad_audio_is_named_at_once_before_any_training_and_mended_the_recipe_goes_on(
    copied, own_recipe
) -> None:
    data_dir = copied.folder / "ser/data/all"
    right = (data_dir / "wav.scp").read_text()
    wavs = [row.split() for row in right.splitlines()]
    bad = copied.folder / "bad"
    bad.mkdir()
    (bad / "cut.wav").write_bytes(Path(wavs[2][1]).read_bytes()[:-1000])
    (bad / "empty.wav").write_bytes(b"")
    samples, rate = soundfile.read(wavs[8][1])
    soundfile.write(bad / "stereo.wav", np.stack([samples, samples], 1), rate)
    for number, name in ((2, "cut"), (4, "empty"), (8, "stereo")):
        wavs[number][1] = str(bad / f"{name}.wav")
    (data_dir / "wav.scp").write_text("".join(f"{utt_id} {path}\n" for utt_id, path in wavs))
    command = own_recipe(data_dir)
    output = copied.call(command, code=1)
    assert "Stage 2 features: failed" in output
    assert "3 faults" in output
    for number in (2, 4, 8):
        assert re.search(rf"{wavs[number][0]}: .*{wavs[number][1]}", output), output
    assert not (copied.folder / "project/egs/own/ser/dump/mfcc_pitch/all").exists()

    (data_dir / "wav.scp").write_text(right)
    output = copied.call([*command, "--stage", "0"])
    assert [row.split()[0] for row in table_of(output)[2:] if row] == [
        "most-frequent",
        "random",
        "baseline-96",
    ]
