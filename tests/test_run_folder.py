"""One run, one folder: who may write in it, and what going on with it takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from commands import fails, run, succeeds, words_for
from pictures import fill
from reverie import provenance, run_folder
from reverie.engine.distributed import World
from reverie.run_folder import held


def train_words(data: object, *more: object) -> list[object]:
    """`train` without --out."""
    words = words_for(Path("x"), *more, data=data)
    at = words.index("--out")
    return [*words[:at], *words[at + 2 :]]


def spoken(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    run(*words)
    return capsys.readouterr().err


@pytest.fixture
def flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures in ./flat of the folder that tests run in."""
    monkeypatch.chdir(tmp_path)
    return fill(tmp_path / "flat", *(f"{i}.png" for i in range(6)))


# The lock


def test_a_second_training_in_a_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    with held(out):
        assert "Another process is training in" in fails(capsys, *words_for(out))
        assert {path.name for path in out.iterdir()} == {".lock"}
        assert "belongs to the run" in fails(capsys, *words_for(out / "best"))
    assert not out.exists()  # nothing was written
    succeeds(capsys, *words_for(out))
    with held(out):
        assert "Another process" in fails(capsys, *words_for(out, "--resume"))
    assert provenance.written_in(out).whole == "run"


def test_whether_there_is_a_run_is_asked_under_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, lock = tmp_path / "run", run_folder._lock

    def late(handle: int, folder: Path) -> None:  # another training ends just before this one gets the lock
        (folder / "config.json").write_text("{}")
        lock(handle, folder)

    monkeypatch.setattr(run_folder, "_lock", late)
    assert "holds a run already" in fails(capsys, *words_for(out))
    assert (out / "config.json").read_text() == "{}"


def test_only_the_first_rank_takes_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import ExitStack

    from reverie.training.recipe import _folder

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with held(tmp_path / "run"), ExitStack() as stack:
        assert _folder(stack, "vae", "digits", tmp_path / "run", False, World()) == tmp_path / "run"
        assert _folder(stack, "vae", "digits", None, False, World()) is None  # the first rank will tell


def test_default_folders_of_two_trainings_are_two(flat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = flat.parent / "runs"
    with held(runs / "vae-flat"):
        assert "Done: runs/vae-flat-2." in succeeds(capsys, *train_words("flat"))
    assert "Done: runs/vae-flat." in succeeds(capsys, *train_words("flat"))
    assert sorted(path.name for path in runs.iterdir()) == ["vae-flat", "vae-flat-2"]


def test_a_default_folder_without_a_run_does_not_stay(flat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "model.latent" in fails(capsys, *train_words("flat", "--set", "model.latent=-1"))
    assert not (flat.parent / "runs").exists()


def test_a_lock_that_was_removed_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, calls = run_folder._lock, []

    def removing(handle: int, folder: Path) -> None:  # as the process does that held it until now
        lock(handle, folder)
        calls.append(handle)
        if len(calls) == 1:
            shutil.rmtree(folder)

    monkeypatch.setattr(run_folder, "_lock", removing)
    with held(tmp_path / "run"):
        assert len(calls) == 2
        with pytest.raises(run_folder.Busy), held(tmp_path / "run"):
            pass


# The place


def test_runs_and_data_keep_apart(
    flat: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "lies in" in fails(capsys, *words_for(flat, data=flat))
    assert "lies in" in fails(capsys, *words_for(flat.parent, data="flat"))
    succeeds(capsys, *words_for(flat / "run", data="flat"))  # asked for by name
    monkeypatch.chdir(flat)
    for spec in (".", flat):
        assert "would lie in the folder of the data" in fails(capsys, *train_words(spec))
    assert sorted(path.name for path in flat.iterdir()) == [*(f"{i}.png" for i in range(6)), "run"]


def test_files_that_are_no_run_s_are_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("mine")
    assert "README.md is no part of a run" in fails(capsys, *words_for(tmp_path))
    assert "README.md is no part of a run" in fails(capsys, *words_for(tmp_path, "--resume"))
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    succeeds(capsys, *words_for(tmp_path, "--force"))
    assert (tmp_path / "README.md").read_text() != "mine"


# Going on


def test_the_same_pictures_are_the_same_data_however_they_are_called(
    flat: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = flat.parent / "run"
    succeeds(capsys, *words_for(out, data="flat"))
    recorded = json.loads((out / "config.json").read_text())["data"]
    assert (recorded["spec"], recorded["place"]) == ("flat", str(flat))
    words = ["train", "vae", "--out", out, "--quiet", "--device", "cpu", "--resume"]
    for spec in ("./flat", "flat/", flat):
        succeeds(capsys, *words, "--data", spec)
    (flat.parent / "elsewhere").mkdir()
    monkeypatch.chdir(flat.parent / "elsewhere")
    succeeds(capsys, *words, "--steps", 3)  # without --data, from another folder
    moved = flat.rename(flat.parent / "moved")
    said = fails(capsys, *words)
    assert f"was trained on '{flat}', which is not there; say by --data" in said
    succeeds(capsys, *words, "--data", moved, "--steps", 4)
    assert json.loads((out / "config.json").read_text())["data"]["place"] == str(moved)
    succeeds(capsys, *words, "--steps", 5)


def test_what_has_changed_is_named(flat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = flat.parent / "run"
    succeeds(capsys, *words_for(out, data="flat"))
    (flat / "3.png").unlink()
    shutil.copy(flat / "1.png", flat / "2.png")
    fill(flat / "more", *(f"{i}.png" for i in range(5)))
    said = fails(capsys, "train", "vae", "--out", out, "--resume")
    for part in ("5 added (more/0.png, more/1.png, more/2.png, ...)", "1 removed (3.png)", "1 changed (2.png)"):
        assert part in said


def test_commands_find_the_run_s_own_data_from_anywhere(
    flat: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = flat.parent / "run"
    succeeds(capsys, *words_for(out, data="flat"))
    figures = succeeds(capsys, "evaluate", out, "--samples", 2)
    (flat.parent / "elsewhere").mkdir()
    monkeypatch.chdir(flat.parent / "elsewhere")
    assert succeeds(capsys, "evaluate", out, "--samples", 2) == figures
    flat.rename(flat.parent / "moved")
    said = fails(capsys, "evaluate", out, "--samples", 2)
    assert f"was trained on 'flat' (at {flat}), which is not there; give --data" in said
    assert succeeds(capsys, "evaluate", out, "--samples", 2, "--data", flat.parent / "moved") == figures


def test_a_run_s_table_is_found_from_anywhere_and_asks_nothing_of_other_pictures(
    flat: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("t.csv").write_text("".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(6)))
    run(*words_for(Path("run"), "--set", "data.labels=t.csv", "data.classes=a,b", data="flat"))
    fill(flat.parent / "others", *(f"x{i}.png" for i in range(4)))
    (flat.parent / "elsewhere").mkdir()
    monkeypatch.chdir(flat.parent / "elsewhere")
    assert "6 codes" in succeeds(capsys, "embed", "../run", "../flat", "--out", "own.npz")
    assert "4 codes" in succeeds(capsys, "embed", "../run", "../others", "--out", "others.npz")


def test_a_training_that_was_killed_before_its_config_begins_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*words_for(tmp_path / "alone"))
    for words in ((), ("--resume",)):
        folder = tmp_path / f"killed{len(words)}"
        (folder / "state").mkdir(parents=True)
        provenance.mark_folder(folder, "run")
        for name in ("metrics.jsonl", "events.jsonl", "state/.0.partial"):
            (folder / name).write_text("")
        run(*words_for(folder, *words))
        assert (folder / "model.safetensors").read_bytes() == (tmp_path / "alone/model.safetensors").read_bytes()
        assert (folder / "metrics.jsonl").read_bytes() == (tmp_path / "alone/metrics.jsonl").read_bytes()


def test_resume_begins_where_nothing_was_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert "to begin one, give the pictures by --data" in fails(capsys, "train", "vae", "--out", out, "--resume")
    (out / "state").mkdir(parents=True)
    (out / ".lock").touch()
    (out / "state" / ".1.safetensors.partial").touch()
    assert f"there is no run in {out} yet: a new one begins" in spoken(capsys, *words_for(out, "--resume"))
    (out / "config.json").unlink()
    assert "is no run" in fails(capsys, *words_for(out, "--resume"))  # but a run that has lost its config
