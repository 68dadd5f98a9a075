"""What commands write: never over what reverie did not write, never over what is read, and never mixed with the old."""

from __future__ import annotations

import errno
import inspect
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import reverie
from commands import fails, run, succeeds, visible
from pictures import fill
from reverie import files, provenance
from reverie.cli import app, main
from reverie.engine.model import ImageSpec
from reverie.errors import ReverieError
from reverie.files import replacing
from reverie.inference import sample as sampling
from runs import written

Capture = pytest.CaptureFixture[str]
COLOUR = ImageSpec(3, 8, 8, ("cat", "dog", "owl"))

# Of each command: the words it takes, and for each parameter that names what it writes, a file that it would write.
# RUN, PICTURES (a folder) and PAIRS (a translator) are put in.
WRITTEN: dict[str, tuple[list[str], dict[str, str]]] = {
    "train": (["vae", "--data", "PICTURES", "--steps", "1", "--quiet"], {"out": "README.md"}),
    "evaluate": (["RUN", "--data", "PICTURES"], {"out": ""}),
    "data": (["PICTURES"], {"sheet": "x.png"}),
    "sample": (["RUN"], {"out": "000003.png", "save_latents": "x.npz"}),
    "interpolate": (["RUN"], {"out": "x.gif"}),
    "mix": (["RUN"], {"out": "x.png"}),
    "condition": (["RUN", "--label", "1"], {"out": "x.png"}),
    "project": (["RUN", "PICTURES"], {"out": "x.png", "latents": "x.npz"}),
    "traverse": (["RUN"], {"out": "x.png"}),
    "map": (["RUN"], {"out": "pictures.png"}),
    "directions": (["RUN"], {"out": "x.png", "vectors": "x.npz"}),
    "arithmetic": (["RUN", "a - b"], {"out": "x.png"}),
    "reconstruct": (["RUN", "PICTURES"], {"out": "x.png"}),
    "embed": (["RUN", "PICTURES"], {"out": "x.npz"}),
    "denoise": (["RUN", "PICTURES"], {"out": "x.png"}),
    "cluster": (["RUN"], {"out": "clusters.csv"}),
    "compress": (["RUN"], {"out": "compressed.svg"}),
    "neighbours": (["RUN"], {"out": "x.png"}),
    "translate": (["PAIRS", "PICTURES"], {"out": "0.png"}),
    "anomaly": (["RUN", "PICTURES"], {"out": "scores.csv"}),
    "classify": (["RUN", "PICTURES"], {"out": "x.csv", "sheet": "x.png"}),
    "transfer": (["RUN"], {"out": "classifier.safetensors"}),
}
FOLDERS = ("train", "sample", "map", "cluster", "compress", "translate", "anomaly", "transfer")  # whose --out is one
READ = {("train", "config"), ("sample", "latents"), ("denoise", "hole")}  # parameters that name what is read


def functions() -> dict[str, Callable[..., None]]:
    return {name: app[name].default_command for name in app if not name.startswith("-")}  # type: ignore[misc]


def paths(function: Callable[..., None]) -> set[str]:
    """The parameters of a command that are files or folders."""
    return {name for name, one in inspect.signature(function).parameters.items() if "Path" in str(one.annotation)}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("given")
    written(folder / "run", "vae", COLOUR)
    written(folder / "pairs", "pix2pix", ImageSpec(6, 8, 8, sides=(3, 3)))
    fill(folder / "pictures", *(f"{i}.png" for i in range(6)))
    return {"RUN": str(folder / "run"), "PAIRS": str(folder / "pairs"), "PICTURES": str(folder / "pictures")}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def vae(here: Path) -> Path:
    """A run of colour pictures."""
    written(here / "run", "vae", ImageSpec(3, 8, 8))
    return Path("run")


def test_every_path_of_every_command_is_known() -> None:
    found = {name: paths(function) for name, function in functions().items()}
    asked = {(name, parameter) for name, parameters in found.items() for parameter in parameters}
    assert asked == READ | {(name, parameter) for name, (_, targets) in WRITTEN.items() for parameter in targets}
    for name in WRITTEN:
        assert "force" in inspect.signature(functions()[name]).parameters


@pytest.mark.parametrize(
    ("command", "parameter"), [(name, parameter) for name, (_, targets) in WRITTEN.items() for parameter in targets]
)
def test_what_reverie_did_not_write_is_refused(
    command: str, parameter: str, here: Path, places: dict[str, str], capsys: Capture
) -> None:
    words, targets = WRITTEN[command]
    mine = here / "new" / (targets[parameter] or "x.json")
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    place = mine.parent if parameter == "out" and command in FOLDERS else mine
    flag = f"--{parameter.replace('_', '-')}"
    said = fails(capsys, command, *(places.get(word, word) for word in words), flag, place)
    assert str(mine) in said
    assert "--force" in said
    assert mine.read_bytes() == b"mine"
    assert visible(here) == [str(mine.relative_to(here))]


# What is read


def test_what_is_read_is_never_written_over(vae: Path, capsys: Capture) -> None:
    np.savez("mine.npz", images=np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), np.uint8))
    fill(Path("pictures"), "a.png", "b.png")
    os.link("pictures/a.png", "other.png")
    Path("link").symlink_to("pictures")
    before = {path: path.read_bytes() for path in (Path("mine.npz"), *Path("pictures").iterdir(), *vae.iterdir())}
    for words in (
        ["embed", vae, "mine.npz", "--out", "mine.npz"],
        ["reconstruct", vae, "pictures/a.png", "--out", "pictures/a.png"],
        ["reconstruct", vae, "pictures", "--out", "pictures/b.png"],
        ["reconstruct", vae, "pictures", "--out", "link/b.png"],
        ["reconstruct", vae, "pictures", "--out", "other.png"],
        ["evaluate", vae, "--data", "pictures", "--out", vae / "config.json"],
    ):
        assert "is among what is read" in fails(capsys, *words, "--force")
    assert all(path.read_bytes() == content for path, content in before.items())


def test_default_outputs_stay_out_of_the_data(
    vae: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    data = fill(here / "pictures", "a.png", "b.png")
    monkeypatch.chdir(data)
    for words in (
        ["embed", here / vae, "."],
        ["reconstruct", here / vae, data],
        ["cluster", here / vae, "../pictures"],
    ):
        assert "choose another place by --out" in fails(capsys, *words)
    assert "contact sheet: none, as contact-sheet.png would lie in the data" in succeeds(capsys, "data", ".")
    assert visible(data) == ["a.png", "b.png"]
    succeeds(capsys, "data", ".", "--sheet", "sheet.png")
    succeeds(capsys, "embed", here / vae, ".", "--out", "codes.npz")
    assert visible(data) == ["a.png", "b.png", "codes.npz", "sheet.png"]
    succeeds(capsys, "embed", here / vae, ".", "--out", "codes.npz")  # its own, so that it may


# What is old


def test_the_same_command_again_leaves_its_new_results_alone(vae: Path, capsys: Capture) -> None:
    succeeds(capsys, "sample", vae, "--count", 20, "--out", "d")
    Path("d/notes.txt").write_text("mine")
    Path("d/000007.png").write_bytes(b"changed")  # by a person, whose it is now
    succeeds(capsys, "sample", vae, "--count", 5, "--out", "d")
    assert visible(Path("d")) == [*(f"{i:06d}.png" for i in range(5)), "000007.png", "notes.txt"]
    assert Path("d/000007.png").read_bytes() == b"changed"
    assert "d/000007.png is there and was not written by reverie" in fails(
        capsys, "sample", vae, "--count", 9, "--out", "d"
    )
    assert len(visible(Path("d"))) == 7


def test_results_that_are_read_do_not_give_way(vae: Path, capsys: Capture) -> None:
    run("sample", vae, "--count", 3, "--out", "s", "--save-latents", "s/z.npz")
    before = Path("s/z.npz").read_bytes()
    said = fails(capsys, "sample", vae, "--out", "s", "--latents", "s/z.npz")
    assert "is among what is read, and would give way" in said
    assert Path("s/z.npz").read_bytes() == before
    assert len(visible(Path("s"))) == 4


def test_old_results_stay_until_there_are_new_ones(vae: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    succeeds(capsys, "sample", vae, "--count", 3, "--out", "d")

    def failing(*_: object, **__: object) -> Iterator[object]:
        raise ReverieError("This went wrong; try again.")
        yield

    monkeypatch.setattr(sampling, "sample_batches", failing)
    assert "went wrong" in fails(capsys, "sample", vae, "--count", 2, "--out", "d")
    assert len(visible(Path("d"))) == 3


def test_results_of_another_run_or_command_do_not_mix(vae: Path, here: Path, capsys: Capture) -> None:
    written(here / "second", "vae", ImageSpec(3, 8, 8))
    fill(here / "pictures", *(f"{i}.png" for i in range(6)))
    succeeds(capsys, "sample", vae, "--count", 4, "--out", "d")
    Path("d/mine.png").write_bytes(b"mine")
    for words in (["sample", "second", "--count", 2], ["cluster", vae, "pictures", "--count", 2]):
        assert "of another run or command" in fails(capsys, *words, "--out", "d")
        assert len(visible(Path("d"))) == 5
    run("cluster", vae, "pictures", "--count", 2, "--out", "d", "--force")
    assert visible(Path("d")) == ["clusters.csv", "clusters.png", "figures.json", "mine.png"]
    succeeds(capsys, "embed", vae, "pictures", "--out", "codes.npz")
    succeeds(capsys, "sample", vae, "--count", 2, "--out", ".")  # a file beside is no result of the folder
    assert Path("codes.npz").exists()


def test_a_file_of_ours_may_be_replaced_and_force_replaces_any(vae: Path, capsys: Capture) -> None:
    for seed in (1, 2):
        succeeds(capsys, "sample", vae, "--count", 2, "--seed", seed, "--out", "x.png")
    assert provenance.WORK.get() is None  # the next call, say of `train`, notes nothing as this one's
    Path("x.png").write_bytes(b"mine")
    assert "not written by reverie" in fails(capsys, "sample", vae, "--count", 2, "--out", "x.png")
    assert Path("x.png").read_bytes() == b"mine"
    succeeds(capsys, "sample", vae, "--count", 2, "--out", "x.png", "--force")
    assert Path("x.png").read_bytes() != b"mine"


def test_results_in_a_run_are_told_from_the_run(vae: Path, capsys: Capture) -> None:
    provenance.mark_folder(vae, "run")
    for _ in range(2):
        succeeds(capsys, "sample", vae, "--count", 2, "--out", vae / "x.png")
    (vae / "mine.png").write_bytes(b"mine")
    assert "mine.png" in fails(capsys, "sample", vae, "--count", 2, "--out", vae / "mine.png")


# What is noted


def test_a_file_is_noted_before_it_appears(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with replacing(Path("a.txt")) as temporary:
        temporary.write_text("old")
    assert provenance.is_ours(Path("a.txt"))

    def killed(*_: object) -> None:
        assert provenance.written_in(here).files["a.txt"][0] == len("newer")
        raise KeyboardInterrupt

    def write() -> None:
        with replacing(Path("a.txt")) as temporary:
            temporary.write_text("newer")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write()
    assert Path("a.txt").read_text() == "old"
    assert provenance.is_ours(Path("a.txt"))  # as it was before
    Path("a.txt").write_text("odd")
    assert not provenance.is_ours(Path("a.txt"))
    assert visible(here) == ["a.txt"]


@pytest.mark.parametrize("name", ["あ" * 78 + ".png", os.fsdecode(b"\xff\xfe.png"), "\x1b[2J.png"])
def test_names_may_be_long_and_odd(name: str, here: Path) -> None:
    with replacing(here / name) as temporary:
        assert len(temporary.name) < 40
        temporary.write_text("content")
    assert provenance.is_ours(here / name)
    with replacing(here / "cache", noted=False) as temporary:
        temporary.write_text("content")
    assert not provenance.is_ours(here / "cache")
    left = here / ".0123456789ab.partial"
    left.touch()
    files.sweep(here)
    assert not left.exists()


# Several files


def test_a_picture_that_cannot_be_written_does_not_stop_the_others(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    written(here / "pairs", "pix2pix", ImageSpec(6, 8, 8, sides=(3, 3)))
    long = "あ" * 78 + ".png"
    fill(here / "in", "a.png", long, "z.png")
    replace = os.replace

    def refusing(source: Any, target: Path) -> None:
        if target.name == "a.png":
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", refusing)
    with pytest.raises(SystemExit) as stopped:
        main(["translate", "pairs", "in"])
    said = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 1
    assert any(line.startswith("reverie: in/a.png: Cannot write translated/a.png: no permission") for line in said)
    assert said[-1] == "reverie: 1 of 3 pictures failed; 2 were translated."
    assert visible(here / "translated") == sorted([long, "z.png"])
    with pytest.raises(SystemExit) as stopped:
        main(["translate", "pairs", "in/a.png", "--out", "new"])
    assert stopped.value.code == 1

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    assert "the disk is full" in fails(capsys, "translate", "pairs", "in", "--out", "full")


def test_sample_goes_on_after_a_picture_that_cannot_be_written(
    vae: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    replace = os.replace

    def refusing(source: Any, target: Path) -> None:
        if target.name == "000001.png":
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", refusing)
    with pytest.raises(SystemExit) as stopped:
        main(["sample", "run", "--count", "3", "--out", "d"])
    assert stopped.value.code == 1
    assert "1 of 3 pictures could not be written; 2 are in d." in capsys.readouterr().err
    assert visible(Path("d")) == ["000000.png", "000002.png"]


def test_translations_of_other_pictures_stay_and_those_of_the_other_way_do_not_mix(here: Path, capsys: Capture) -> None:
    written(here / "cycle", "cyclegan", ImageSpec(6, 8, 8, sides=(3, 3)))
    fill(here / "in", "a.png", "b.png", "deep/c.png")
    for name in ("a.png", "b.png", "b.png"):
        succeeds(capsys, "translate", "cycle", f"in/{name}")
    assert visible(here / "translated") == ["a.png", "b.png"]
    words = ["translate", "cycle", "in/a.png", "--direction", "ba"]
    assert "of another run or command" in fails(capsys, *words)
    succeeds(capsys, *words, "--force")
    assert visible(here / "translated") == ["a.png"]
    words = ["translate", "cycle", "in/deep", "in/a.png", "--out", "new"]
    fill(here / "in" / "deep", "deeper/d.png")
    (here / "in" / "deep" / "c.png").unlink()
    succeeds(capsys, "translate", "cycle", "in/deep", "--out", "new")
    assert visible(here / "new") == ["deeper/d.png"]
    assert "of another run or command" in fails(capsys, *words, "--direction", "ba")
    succeeds(capsys, *words[:2], "in/a.png", *words[4:], "--direction", "ba", "--force")
    assert visible(here / "new") == ["a.png"]


def test_sample_writes_as_it_draws_and_keeps_what_is_done(
    vae: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    draw = sampling.sample_batches

    def watched(model: object, count: int, *args: Any, **more: Any) -> Iterator[sampling.Drawn]:
        for part in draw(model, count, *args, batch=4, **more):
            assert len(visible(Path("d"))) == part.start  # all before are on disk
            if part.start == 8:
                raise KeyboardInterrupt
            yield part

    monkeypatch.setattr(sampling, "sample_batches", watched)
    monkeypatch.setattr("reverie.cli.shared.ProgressPrinter.SECONDS", 0.0)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(["sample", "run", "--count", "99", "--out", "d", "--save-latents", "z.npz"])
    assert stopped.value.code == 130
    assert capsys.readouterr().err.splitlines() == [
        "reverie: 4 of 99 pictures", "reverie: 8 of 99 pictures", "reverie: Stopped: 8 of 99 pictures are in d."
    ]  # fmt: skip
    assert visible(Path("d")) == [f"{i:06d}.png" for i in range(8)]
    assert np.load("z.npz")["latents"].shape == (8, 3)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    ],
)
def test_too_little_memory_is_one_sentence(
    error: Exception, vae: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def short(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(sampling, "sample_batches", short)
    assert "The memory is not enough" in fails(capsys, "sample", vae, "--out", "d")
    monkeypatch.setattr(sampling, "sample_batches", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["sample", "run", "--out", "d"])


# Latents


@pytest.mark.parametrize(("name", "image_spec"), [("vae", ImageSpec(3, 8, 8)), ("cvae", COLOUR), ("stylegan2", COLOUR)])
def test_saved_latents_draw_the_same_pictures(name: str, image_spec: ImageSpec, here: Path, capsys: Capture) -> None:
    written(here / "run", name, image_spec)
    words = ["sample", "run", "--count", 5, "--seed", 3]
    words += ["--labels", "owl", "cat"] if name == "cvae" else []
    succeeds(capsys, *words, "--out", "a.png", "--save-latents", "z.npz")
    succeeds(capsys, "sample", "run", "--latents", "z.npz", "--out", "b.png")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    succeeds(capsys, "sample", "run", "--latents", "z.npz", "--count", 2, "--out", "d", "--save-latents", "y.npz")
    np.testing.assert_array_equal(np.load("y.npz")["latents"], np.load("z.npz")["latents"][:2])
    assert "is among what is read" in fails(
        capsys, "sample", "run", "--latents", "z.npz", "--save-latents", "z.npz", "--out", "c.png"
    )
    if name == "cvae":
        assert np.load("z.npz")["labels"].tolist() == [2, 0, 2, 0, 2]
        succeeds(capsys, "sample", "run", "--latents", "z.npz", "--labels", "dog", "--out", "c.png")
        assert Path("c.png").read_bytes() != Path("a.png").read_bytes()


def test_latents_are_drawn_from_whatever_the_batch(here: Path) -> None:
    model = written(here / "run", "cvae", COLOUR)
    drawn = list(sampling.sample_batches(model, 7, 3, batch=3))
    assert [part.start for part in drawn] == [0, 3, 6]
    pictures, latents = (torch.cat([getattr(part, name) for part in drawn]) for name in ("pictures", "latents"))
    torch.testing.assert_close(pictures, sampling.sample(model, 7, 3), rtol=0, atol=1e-6)
    again = sampling.sample_batches(model, 5, latents=latents.numpy(), batch=2)
    torch.testing.assert_close(torch.cat([part.pictures for part in again]), pictures[:5], rtol=0, atol=1e-6)


def test_codes_of_pictures_draw_their_reconstructions(here: Path, capsys: Capture) -> None:
    written(here / "run", "cvae", COLOUR)
    fill(here / "pictures", *(f"{kind}/{i}.png" for kind in ("owl", "dog", "cat") for i in range(2)))
    succeeds(capsys, "embed", "run", "pictures", "--out", "codes.npz")
    succeeds(capsys, "sample", "run", "--latents", "codes.npz", "--out", "d")
    pictures = reverie.open_dataset("pictures")
    batch, labels = (
        reverie.to_tensor(pictures.batch(np.arange(6))),
        [pictures.image_spec.classes[i] for i in pictures.labels],
    )
    wanted = reverie.to_uint8(reverie.reconstruct(reverie.load("run").model, batch, labels))
    found = np.stack([np.asarray(Image.open(f"d/{i:06d}.png")).transpose(2, 0, 1) for i in range(6)])
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"codes": np.zeros((4, 5), np.float32)}, "have 5 numbers each, and the latent of VAE 3"),
        ({"codes": np.zeros(5, np.float32)}, "latents are numbers (N, d)"),
        ({"codes": np.zeros((0, 3), np.float32)}, "latents are numbers (N, d)"),
        ({"latents": np.array([["a", "b", "c"]])}, "latents are numbers (N, d)"),
        ({"latents": np.full((2, 3), np.nan)}, "not finite"),
        ({"pictures": np.zeros((2, 3))}, "no array called codes or latents"),
        ({"latents": np.zeros((2, 3)), "space": np.array("w")}, "holds styles"),
        ({"latents": np.zeros((2, 3)), "labels": np.zeros(3, np.int64)}, "each latent needs one whole number"),
        (
            {"latents": np.zeros((2, 3)), "labels": np.array([0, 7]), "classes": np.array(["a"])},
            "none of its 1 classes",
        ),
        ({"latents": np.array([[None] * 3])}, "Cannot read latents"),
    ],
)
def test_latents_that_are_none(arrays: dict[str, Any], said: str, vae: Path, capsys: Capture) -> None:
    np.savez("z.npz", allow_pickle=True, **arrays)
    assert said in fails(capsys, "sample", vae, "--latents", "z.npz", "--out", "x.png")
    assert not Path("x.png").exists()


def test_latents_that_do_not_fit_the_call(vae: Path, capsys: Capture) -> None:
    np.savez("z.npz", latents=np.zeros((2, 3), np.float32))
    words = ["sample", vae, "--latents", "z.npz", "--out", "x.png"]
    assert "There are 2 latents, and 3 pictures are asked for" in fails(capsys, *words, "--count", 3)
    assert "leave out one" in fails(capsys, *words, "--prior", "mixture")
    Path("z.npz").write_bytes(b"no archive")
    assert "Cannot read latents from z.npz" in fails(capsys, *words)


# Names and permissions


@contextmanager
def ascii_terminal() -> Iterator[io.BytesIO]:
    """A terminal that shows nothing but ASCII and says so by raising."""
    before, shown = (sys.stdout, sys.stderr), io.BytesIO()
    sys.stdout = sys.stderr = io.TextIOWrapper(shown, "ascii", "strict", write_through=True)
    try:
        yield shown
    finally:
        sys.stdout, sys.stderr = before


@pytest.mark.parametrize("name", ["日本語", os.fsdecode(b"caf\xe9"), "\x1b[31mred"])
def test_a_terminal_shows_any_name(name: str, vae: Path, here: Path) -> None:
    data = fill(here / name, "ü.png")
    (data / "\x1b[2Jbroken.png").write_bytes(b"none")
    with ascii_terminal() as shown:
        for words in (["data", name], ["sample", vae, "--count", 2, "--out", f"{name}.png"], ["embed", vae, name]):
            run(*words)
        with pytest.raises(SystemExit):
            main(["sample", f"no {name}"])
    said = shown.getvalue().decode("ascii")
    assert "\x1b" not in said
    assert "2 pictures in" in said


def test_a_run_lies_in_a_folder_whose_name_is_no_unicode(here: Path, capsys: Capture) -> None:
    folder = here / os.fsdecode(b"caf\xe9")
    fill(folder / "pictures", *(f"{i}.png" for i in range(4)))
    words = ["train", "vae", "--data", folder / "pictures", "--out", folder / "run", "--device", "cpu"]
    small = ["--set", "model.network=mlp", "model.width=4", "model.latent=3", "train.batch_size=2"]
    run(*words, "--steps", 2, *small)
    run(*words, "--resume", "--steps", 3)
    run("sample", folder / "run", "--count", 2, "--out", folder / "x.png")
    assert reverie.load(folder / "run").image_spec.shape == (3, 8, 8)
    assert json.loads((folder / "run" / "config.json").read_text())["data"]["place"] == str(folder / "pictures")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_may_not_be_read_is_not_called_damaged(
    name: str, vae: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    read = Path.open

    def closed(self: Path, *args: Any, **more: Any) -> Any:
        if self.name == name:
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *args, **more)

    monkeypatch.setattr(Path, "open", closed)
    said = fails(capsys, "sample", vae)
    assert f"{name} may not be read" in said
    assert "damaged" not in said
