"""Checkpoints: round trip, refusals of foreign and damaged files, atomic writes."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from curate.errors import CheckpointError
from curate.files import sha256_of
from train import checkpoint
from train.checkpoint import CheckpointMetadata
from train.models.unet import ColorUNet
from train.recipe import Recipe

METADATA = CheckpointMetadata(
    Recipe(channels=2, max_steps=9), "clean.parquet", "cd" * 32, 9, 0.114, "train fit clean.parquet", 0.4, 2
)
CheckpointFile = Callable[..., Path]


def metadata(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        found: dict[str, Any] = json.loads(file.metadata()["vividset"])
    return found


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    save_file(dict(checkpoint.load(path).tensors), path, {"vividset": json.dumps(change(metadata(path)))})
    return path


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_saved_checkpoint_is_loaded_unchanged(tmp_path: Path) -> None:
    network = ColorUNet(2)
    path = tmp_path / "last.safetensors"
    expected = replace(METADATA, schedule={"groups": [{"lr": 5e-5, "betas": [0.9, 0.999]}]})
    checkpoint.save(path, checkpoint.network_tensors(network) | {"optimizer/0/step": torch.tensor(9.0)}, expected)
    found = checkpoint.load(path)
    assert found.metadata == expected
    assert found.tensors_under("optimizer").keys() == {"0/step"}
    assert all(torch.equal(found.tensors_under("model")[name], value) for name, value in network.state_dict().items())


def test_the_network_is_loaded_in_eval_mode(checkpoint_file: CheckpointFile) -> None:
    found = checkpoint.load(checkpoint_file(channels=3))
    network = found.network()
    assert not network.training
    assert torch.equal(network.head.weight, found.tensors["model/head.weight"])


def test_adamw_is_restored_with_its_moments() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    first = torch.optim.AdamW([weight], lr=0.1)
    weight.sum().backward()  # type: ignore[no-untyped-call]  # torch has no types here
    first.step()
    second = torch.optim.AdamW([weight], lr=0.5)
    saved = {name.removeprefix("optimizer/"): value for name, value in checkpoint.optimizer_tensors(first).items()}
    checkpoint.restore_optimizer(second, first.state_dict()["param_groups"], saved)
    assert second.param_groups[0]["lr"] == 0.1
    assert second.state[weight].keys() == first.state[weight].keys() == {"step", "exp_avg", "exp_avg_sq"}
    assert all(torch.equal(value, second.state[weight][name]) for name, value in first.state[weight].items())


def test_restored_moments_have_the_memory_layout_of_their_weights() -> None:
    """Fused AdamW refuses another layout on GPUs, and mixes up the values on CPUs."""
    weight = torch.nn.Parameter(torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last))
    first = torch.optim.AdamW([weight], fused=True)
    weight.square().sum().backward()  # type: ignore[no-untyped-call]  # torch has no types here
    first.step()
    moments = checkpoint.optimizer_tensors(first)
    saved = {name.removeprefix("optimizer/"): value.contiguous() for name, value in moments.items()}  # as a file has it
    second = torch.optim.AdamW([weight], fused=True)
    checkpoint.restore_optimizer(second, first.state_dict()["param_groups"], saved)
    for name in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(second.state[weight][name], first.state[weight][name])
        assert second.state[weight][name].stride() == weight.stride()


def test_a_checkpoint_is_plain_safetensors_and_is_read_without_pickle(
    checkpoint_file: CheckpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint_file()
    header_bytes = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + header_bytes])
    assert header["__metadata__"].keys() == {"vividset"}
    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, pytest.fail)
    assert checkpoint.load(path).network().head.weight.any()


def test_a_pickle_named_like_a_checkpoint_is_refused_unopened(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    torch.save({"model/head.weight": torch.zeros(1)}, path)
    assert str(path) in refusal(path)


def test_weights_only_skips_the_optimizer(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    checkpoint.save(path, {"model/a": torch.ones(2), "optimizer/0/exp_avg": torch.ones(2)}, METADATA)
    assert checkpoint.load(path, weights_only=True).tensors.keys() == {"model/a"}


def test_a_run_folder_is_read_as_its_best_checkpoint(checkpoint_file: CheckpointFile) -> None:
    path = checkpoint_file()
    assert checkpoint.load(path.parent).path == path


def test_a_missing_checkpoint_says_which_file_to_give(tmp_path: Path) -> None:
    assert "RUN/best.safetensors" in refusal(tmp_path / "none.safetensors")
    assert "best.safetensors doesn't exist" in refusal(tmp_path)


def test_safetensors_of_another_program_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    assert "not made by vividset" in refusal(path)


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(checkpoint_file: CheckpointFile, keep: float) -> None:
    path = checkpoint_file()
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    assert "incomplete or not a checkpoint" in refusal(path)


def test_another_format_version_is_refused_with_both_versions(checkpoint_file: CheckpointFile) -> None:
    message = refusal(rewrite(checkpoint_file(), lambda about: about | {"format_version": 7, "tool_version": "9.1"}))
    assert "format 7" in message
    assert "9.1" in message


def test_a_file_has_the_usual_permissions_also_after_an_interrupted_one(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    draft = tmp_path / ".last.safetensors.draft"
    draft.touch(0o600)
    (tmp_path / "usual").touch()
    checkpoint.save(path, {"model/a": torch.ones(2)}, METADATA)
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert not draft.exists()


def test_an_unknown_model_is_refused_by_name(checkpoint_file: CheckpointFile) -> None:
    assert "GrayTransformer" in refusal(rewrite(checkpoint_file(), lambda about: about | {"model": "GrayTransformer"}))


@pytest.mark.parametrize(
    "change",
    [
        lambda about: [],
        lambda about: {},
        lambda about: about | {"surprise": 1},
        lambda about: about | {"recipe": {"surprise": 1}},
        lambda about: about | {"recipe": {"channels": 0}},
        lambda about: {name: value for name, value in about.items() if name != "recipe"},
        lambda about: {name: value for name, value in about.items() if name != "step"},
    ],
    ids=["list", "empty", "unknown field", "unknown recipe", "impossible recipe", "no recipe", "no step"],
)
def test_invalid_metadata_is_reported_as_damage(
    checkpoint_file: CheckpointFile, change: Callable[[dict[str, Any]], Any]
) -> None:
    assert "damaged" in refusal(rewrite(checkpoint_file(), change))


def test_weights_that_do_not_match_the_recipe_are_damage(checkpoint_file: CheckpointFile) -> None:
    wider = rewrite(checkpoint_file(), lambda about: about | {"recipe": {**about["recipe"], "channels": 5}})
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(wider).network()


def test_saving_replaces_the_old_file_and_leaves_no_draft(checkpoint_file: CheckpointFile) -> None:
    path = checkpoint_file()
    checkpoint.save(path, {"model/a": torch.ones(2)}, METADATA)
    assert [entry.name for entry in path.parent.iterdir()] == ["best.safetensors"]
    assert checkpoint.load(path).metadata == METADATA


def test_a_failed_save_keeps_the_old_checkpoint_and_leaves_no_draft(
    checkpoint_file: CheckpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint_file()
    before = path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"No space left.*--resume"):
        checkpoint.save(path, {"model/a": torch.ones(2)}, METADATA)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["best.safetensors"]


def test_remove_drafts_deletes_drafts_only(checkpoint_file: CheckpointFile) -> None:
    path = checkpoint_file()
    (path.parent / ".last.safetensors.draft").write_bytes(b"half")
    checkpoint.remove_drafts(path.parent)
    assert [entry.name for entry in path.parent.iterdir()] == ["best.safetensors"]


def test_its_hash_is_the_files(checkpoint_file: CheckpointFile) -> None:
    path = checkpoint_file()
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_checkpoint_without_read_permission_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("train.checkpoint_file.check_readable", deny)
    assert "can't be read: Permission denied: check the permissions" in refusal(tmp_path / "last.safetensors")
