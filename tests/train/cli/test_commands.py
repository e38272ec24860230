"""The `train` commands: help, options, errors in one line, runs and resuming."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result

from curate.version import __version__
from train import checkpoint
from train.cli import main
from train.recipe import Recipe

Manifests = Callable[..., Path]
CheckpointFile = Callable[..., Path]
SMALL = ("--image-size", "32", "--channels", "2", "--batch-size", "2", "--epochs", "1")
QUICK: tuple[str | Path, ...] = (*SMALL, "--device", "cpu", "--workers", "0")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def failure(result: Result, exit_code: int) -> str:
    """The one line of a command that failed as expected."""
    assert result.exit_code == exit_code, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    return line


@pytest.mark.parametrize("command", [(), ("fit",), ("recipe",), ("colorize",)], ids=" ".join)
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    for option in ("--help", "-h"):
        result = run(*command, option)
        assert result.exit_code == 0
        assert result.output.startswith("Usage: ")


def test_fit_offers_every_documented_option_with_its_default() -> None:
    said = " ".join(run("fit", "--help").output.split())
    options = "epochs batch-size lr weight-decay channels image-size warmup max-steps seed workers device precision"
    for option in (*options.split(), "run-dir", "resume", "root", "norm"):
        assert f"--{option} " in said
    for default in ("100", "16", "5e-05", "1e-05", "96", "256", "0.1", "auto"):
        assert f"[default: {default}]" in said


def test_version_is_printed() -> None:
    assert __version__ in run("--version").output


def test_recipe_prints_every_hyper_parameter_with_value_and_reason() -> None:
    result = run("recipe")
    assert result.exit_code == 0
    heads = [line.split() for line in result.output.splitlines() if not line.startswith(" ")]
    assert [head[0] for head in heads] == [field.name for field in dataclasses.fields(Recipe)]
    assert [head[1] for head in heads] == [str(value) for _, value, _ in Recipe().describe()]
    assert all(len(head) > 3 for head in heads)


@pytest.mark.parametrize(
    "options",
    [
        ("--lr", "0"),
        ("--channels", "0"),
        ("--image-size", "8"),
        ("--warmup", "1.5"),
        ("--max-steps", "0"),
        ("--epochs", "many"),
        ("--norm", "layer"),
        ("--precision", "8-bit"),
        ("--workers", "-1"),
        ("--device", "abacus"),
        ("--device", "cuda:first"),
        ("--device", "cuda:99"),
        ("--lightness", "1"),
    ],
    ids=" ".join,
)
def test_invalid_options_are_usage_errors(clean_manifest: Manifests, tmp_path: Path, options: tuple[str, ...]) -> None:
    result = run("fit", clean_manifest(), "--run-dir", tmp_path / "run", *QUICK, *options)
    assert options[0] in failure(result, 2)
    assert not (tmp_path / "run").exists()


def test_colorize_without_photos_or_folder_is_a_usage_error(checkpoint_file: CheckpointFile, tmp_path: Path) -> None:
    path = checkpoint_file()
    assert "PHOTO" in failure(run("colorize", path, "-o", tmp_path), 2)
    assert "--out" in failure(run("colorize", path, tmp_path / "a.png"), 2)
    assert "--device" in failure(run("colorize", path, tmp_path / "a.png", "-o", tmp_path, "--device", "abacus"), 2)


def test_colorize_without_a_checkpoint_is_an_error_in_one_line(tmp_path: Path) -> None:
    result = run("colorize", tmp_path / "none.safetensors", tmp_path / "a.png", "-o", tmp_path / "out")
    assert "doesn't exist" in failure(result, 1)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("missing", "doesn't exist"),
        ("foreign", "is it a vividset manifest?"),
        ("empty", "is empty"),
        ("gray", "no color photos"),
        ("unfiltered", "run `curate filter`"),
        ("newer", "upgrade vividset"),
        ("gone", "1 of 4 photos"),
    ],
)
def test_a_manifest_that_cant_be_trained_on_is_an_error_before_anything_is_written(
    clean_manifest: Manifests, tmp_path: Path, trouble: str, said: str
) -> None:
    path = clean_manifest(tone="sepia" if trouble == "gray" else "color", schema_version=9 if trouble == "newer" else 1)
    if trouble == "missing":
        path.unlink()
    elif trouble == "foreign":
        path.write_text("source,path\n")
    elif trouble == "empty":
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    elif trouble == "unfiltered":
        pq.write_table(pq.read_table(path).drop_columns(["split", "reject_reasons"]), path)
    elif trouble == "gone":
        (tmp_path / "photos" / "p03.png").unlink()
    result = run("fit", path, "--run-dir", tmp_path / "run", *QUICK)
    assert said in failure(result, 1)
    assert not (tmp_path / "run").exists()


def test_root_finds_photos_that_moved(clean_manifest: Manifests, tmp_path: Path) -> None:
    path = clean_manifest()
    (tmp_path / "photos").rename(tmp_path / "moved")
    options: tuple[str | Path, ...] = (*QUICK, "--max-steps", "1", "--run-dir", tmp_path / "run")
    assert "--root" in failure(run("fit", path, *options), 1)
    assert run("fit", path, *options, "--root", tmp_path / "moved").exit_code == 0


def test_fit_trains_and_prints_its_outputs(clean_manifest: Manifests, tmp_path: Path) -> None:
    path, folder = clean_manifest(("train",) * 3 + ("val",)), tmp_path / "runs" / "first"
    result = run("fit", path, "--run-dir", folder, *QUICK, "--lr", "1e-3", "--seed", "4")
    assert result.exit_code == 0, result.output
    assert result.output.index("baseline ") < result.output.index("step 1/2")
    assert "times the neutral loss (mean of the last" in result.output
    last = result.output.splitlines()[-1]
    assert last.startswith(f"written: {folder}: run.html, best.safetensors")
    assert all((entry.name in last) for entry in folder.iterdir())
    about = checkpoint.load(folder).metadata
    assert about.recipe == Recipe(image_size=32, channels=2, batch_size=2, epochs=1, lr=1e-3, seed=4)
    assert about.manifest_path == str(path)


def test_without_run_dir_the_run_is_named_after_the_manifest(
    clean_manifest: Manifests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clean_manifest()
    monkeypatch.chdir(tmp_path)
    assert run("fit", path, *QUICK, "--max-steps", "1").exit_code == 0
    assert (tmp_path / "runs" / "clean" / "last.safetensors").exists()


def test_an_existing_run_is_only_continued_with_resume(clean_manifest: Manifests, tmp_path: Path) -> None:
    command: tuple[str | Path, ...] = ("fit", clean_manifest(), "--run-dir", tmp_path / "run", *QUICK)
    assert run(*command).exit_code == 0
    before = (tmp_path / "run" / "last.safetensors").read_bytes()
    assert "--resume" in failure(run(*command), 2)
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == before


def test_resume_refuses_options_that_differ_and_accepts_those_that_agree(
    clean_manifest: Manifests, tmp_path: Path
) -> None:
    path, folder = clean_manifest(), tmp_path / "run"
    assert run("fit", path, "--run-dir", folder, *QUICK).exit_code == 0
    said = failure(run("fit", path, "--run-dir", folder, "--resume", "--channels", "3"), 2)
    assert "--channels 3 differs from the run's 2" in said
    said = failure(run("fit", path, "--run-dir", folder, "--resume", "--augment", "film"), 2)
    assert "--augment film differs from the run's none" in said
    assert run("fit", path, "--run-dir", folder, "--resume", "--device", "cpu", "--channels", "2").exit_code == 0


def test_resuming_a_finished_run_changes_nothing(clean_manifest: Manifests, tmp_path: Path) -> None:
    path, folder = clean_manifest(("train",) * 3 + ("val",)), tmp_path / "run"
    assert run("fit", path, "--run-dir", folder, *QUICK).exit_code == 0
    before = checkpoint.load(folder / "last.safetensors")
    result = run("fit", path, "--run-dir", folder, "--resume", "--device", "cpu")
    assert result.exit_code == 0, result.output
    after = checkpoint.load(folder / "last.safetensors")
    assert after.metadata.step == before.metadata.step
    assert all(torch.equal(after.tensors[name], tensor) for name, tensor in before.tensors.items())
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines if line["event"] == "step"] == [1, 2]


def test_resume_without_a_checkpoint_says_so_and_starts_fresh(clean_manifest: Manifests, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = run("fit", clean_manifest(), "--run-dir", folder, "--resume", *QUICK)
    assert result.exit_code == 0, result.output
    assert f"{folder} has no checkpoint yet: starting a new run" in result.output
    assert (folder / "last.safetensors").exists()


def test_resume_on_another_manifest_is_refused(clean_manifest: Manifests, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run("fit", clean_manifest(), "--run-dir", folder, *QUICK).exit_code == 0
    other = clean_manifest(("train",) * 5).rename(tmp_path / "other.parquet")
    said = failure(run("fit", other, "--run-dir", folder, "--resume"), 1)
    assert "another manifest" in said


def test_resume_from_a_damaged_checkpoint_is_an_error_in_one_line(clean_manifest: Manifests, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "last.safetensors").write_bytes(b"\0" * 50)
    assert "can't be read" in failure(run("fit", clean_manifest(), "--run-dir", folder, "--resume", *QUICK), 1)


def test_drafts_of_a_killed_run_are_removed_on_resume(clean_manifest: Manifests, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".last.safetensors.draft").write_bytes(b"half")
    assert run("fit", clean_manifest(), "--run-dir", folder, "--resume", *QUICK).exit_code == 0
    assert not list(folder.glob(".*"))


def test_a_run_dir_that_is_a_file_is_an_error_in_one_line(clean_manifest: Manifests, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    assert "--run-dir" in failure(run("fit", clean_manifest(), "--run-dir", tmp_path / "run", *QUICK), 1)


def test_help_imports_no_heavy_library() -> None:
    heavy = "('torch', 'kornia', 'cv2', 'pyarrow', 'numpy', 'pandas', 'matplotlib')"
    code = f"import sys, train.cli; print([name for name in {heavy} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def test_python_dash_m_is_the_command() -> None:
    said = subprocess.run([sys.executable, "-m", "train", "--help"], capture_output=True, text=True, check=True).stdout
    assert "colorize" in said


def test_resuming_with_another_number_of_threads_prints_a_note(clean_manifest: Manifests, tmp_path: Path) -> None:
    words = ("fit", clean_manifest(), "--run-dir", tmp_path / "run", *QUICK)
    assert run(*words).exit_code == 0
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        said = run(*words, "--resume").output
    finally:
        torch.set_num_threads(before)
    assert f"this run had {before} CPU threads and now has {before + 1}" in said
