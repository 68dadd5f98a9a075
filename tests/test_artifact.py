"""What a run's folder may hold, and what is refused: by one sentence, before anything large is built."""

from __future__ import annotations

import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import reverie
from cases import SPEC, spec_for
from reverie import artifact, registry
from reverie.artifact import load, read_config
from reverie.capabilities import Conditions, Encodes, Samples, Translates
from reverie.engine.model import ImageSpec, Model
from reverie.errors import ReverieError
from runs import written


def outputs(model: Model) -> dict[str, Tensor]:
    """What the model makes of fixed inputs, by every capability it has."""
    channels, height, width = model.image_spec.shape
    images = torch.linspace(-1, 1, 5 * channels * height * width).view(5, channels, height, width)
    labels = torch.arange(5) % 3 if isinstance(model, Conditions) else None
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        if isinstance(model, Encodes):
            code = model.encode(images, labels)
            found |= {"mean": code.mean} | ({} if code.logvar is None else {"logvar": code.logvar})
        if isinstance(model, Samples) and "mean" in found:
            found["decoded"] = model.decode(found["mean"], labels)
    if isinstance(model, Samples):
        found["drawn"] = reverie.sample(model, 7, seed=3)
    if isinstance(model, Translates):
        sides = dict(zip(("ab", "ba"), images.split(model.image_spec.sides, 1), strict=True))
        found |= {way: reverie.translate(model, sides[way], way) for way in model.directions}
    return {key: value.contiguous() for key, value in found.items()}


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert a
    for key in a:
        assert torch.equal(a[key], b[key]), key


@pytest.fixture
def run(tmp_path: Path) -> Path:
    written(tmp_path / "run")
    return tmp_path / "run"


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def refused(folder: Path, match: str = ".") -> str:
    """The sentence with which the folder is refused, quickly and without building anything large."""
    memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ReverieError, match=match) as caught:
        load(folder)
    assert time.process_time() - start < 10  # building it would take minutes; a busy machine takes 3 s for nothing
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000  # KiB
    sentence = str(caught.value)
    assert len(sentence) < 1000
    assert "\n" not in sentence
    return sentence


# Round trips


@pytest.mark.parametrize("image_spec", [SPEC, ImageSpec(3, 9, 5, ("a", "b", "c"))], ids=str)
@pytest.mark.parametrize("name", registry.names())
def test_round_trip(name: str, image_spec: ImageSpec, tmp_path: Path) -> None:
    model = written(tmp_path, name, image_spec)
    found = load(tmp_path)
    assert (found.name, found.image_spec, found.path) == (name, spec_for(name, image_spec), tmp_path)
    assert type(found.model) is type(model)
    assert found.model.config == model.config
    assert not found.model.training
    assert not any(p.requires_grad for p in found.model.parameters())
    ours, theirs = dict(found.model.state_dict()), dict(model.state_dict())
    pools = [key for key in theirs if key.startswith("pool_")]  # of pictures, which are not given away
    assert not any(bool(ours.pop(key).any()) for key in pools)
    assert_same(ours, {key: value for key, value in theirs.items() if key not in pools})
    assert_same(outputs(found.model), outputs(model))
    assert found.config == read_config(tmp_path)
    assert found.config["facts"]["range"] == [-1, 1]


def test_a_new_process_computes_the_same_to_the_bit(tmp_path: Path) -> None:
    expected = {name: outputs(written(tmp_path / name, name)) for name in registry.names()}
    program = (
        "import sys; from pathlib import Path; import torch; torch.set_num_threads(1)\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from test_artifact import load, outputs, save_file\n"
        "first, compiler = load(Path(sys.argv[2]) / 'vae'), 'torch._dynamo' in sys.modules\n"
        "assert not compiler, 'loading a model imported the compiler of torch, which takes a second'\n"
        "for folder in sorted(Path(sys.argv[2]).iterdir()):\n"
        "    save_file(outputs(load(folder).model), folder / 'outputs.safetensors')\n"
    )
    tests = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-c", program, tests, str(tmp_path)], check=True, timeout=120)
    for name, values in expected.items():
        assert_same(load_file(tmp_path / name / "outputs.safetensors"), values)


def test_weights_are_the_files_not_a_view_of_it(run: Path) -> None:
    found = load(run)
    before = outputs(found.model)
    (run / "model.safetensors").write_bytes(b"")
    assert_same(outputs(found.model), before)


# config.json


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    refused(tmp_path, r"is no run: it has no config\.json")
    refused(tmp_path / "nothing", "is no run")
    refused(tmp_path / ("x" * 300), "is no run")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "is no run")
    (tmp_path / "odd" / "config.json").mkdir(parents=True)
    refused(tmp_path / "odd", "is no run")


def test_a_run_that_has_saved_nothing(run: Path) -> None:
    (run / "model.safetensors").unlink()
    refused(run, "its training has saved nothing yet")


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"null", b"[]", b"3", b'"x"', b"\xff\xfe\x00", b"[" * 200_000, b'{"a":' * 200_000, b"{}", bytes(100),
        b'{"format": true}', b'{"format": "1"}', b'{"format": 1.0}', b'{"format": NaN}', b'{"format": 1} trailing',
        b'{"format": 1' + b"0" * 5000 + b"}",
    ],
    ids=lambda text: repr(text[:20]),
)  # fmt: skip
def test_a_damaged_config(text: bytes, run: Path) -> None:
    (run / "config.json").write_bytes(text)
    refused(run, r"config\.json is damaged|newer reverie")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_config(share: float, run: Path) -> None:
    whole = (run / "config.json").read_bytes()
    (run / "config.json").write_bytes(whole[: int(share * len(whole))])
    refused(run, r"config\.json is damaged: it can't be read as JSON")


def test_a_giant_config_is_not_read(run: Path) -> None:
    with (run / "config.json").open("r+b") as file:
        file.truncate(2**40)  # a hole, no data
    refused(run, "too large")


def test_keys_that_are_there_twice_and_numbers_that_are_none(run: Path) -> None:
    text = (run / "config.json").read_text()
    (run / "config.json").write_text(text.replace('"latent": 3', '"latent": 3, "latent": 4'))
    refused(run, "a key is there twice")
    (run / "config.json").write_text(text.replace('"beta": 1.0', '"beta": NaN'))
    refused(run, "NaN is no number")
    (run / "config.json").write_text(text.replace('"beta": 1.0', '"beta": -Infinity'))
    refused(run, "-Infinity is no number")
    (run / "config.json").write_text(text.replace('"beta": 1.0', '"beta": 1e999'))
    refused(run, r"model\.beta takes a number")


def at(config: dict[str, Any], path: str) -> tuple[Any, str]:
    *parents, last = path.split(".")
    for key in parents:
        config = config[key]
    return config, last


@pytest.mark.parametrize(
    "path",
    [
        "model", "facts", "data", "settings", "reverie", "facts.channels", "facts.height", "facts.width",
        "facts.classes", "data.spec", "data.fingerprint", "settings.model", "settings.train", "settings.data",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", ["missing", None, True, 1.5, -1, [], [1], {"a": 1}, {}], ids=repr)
def test_fields_that_are_missing_or_of_the_wrong_kind(path: str, value: Any, run: Path) -> None:
    if (path, value) in [("facts.classes", [])] or (path, value) == ("settings.data", {}):
        return  # those are allowed

    def change(config: dict[str, Any]) -> None:
        parent, key = at(config, path)
        del parent[key]
        if value != "missing":
            parent[key] = value

    edit(run, change)
    if value == {} and path == "settings.train":  # every setting has a default
        load(run)
    else:
        refused(run, rf"'{path}['.]|Unknown setting '{path.removeprefix('settings.')}\.a'|does not fit|no model")


def test_fields_that_are_unknown(run: Path) -> None:
    edit(run, lambda c: c.update(extra=1))
    refused(run, "'extra' is not known")


def test_sections_that_are_unknown(run: Path) -> None:
    edit(run, lambda c: c["settings"].update(modle={}))
    refused(run, r"'settings\.modle' is not known")


def test_settings_that_are_unknown_or_of_the_wrong_kind(run: Path) -> None:
    edit(run, lambda c: c["settings"]["model"].update(latnet=3))
    refused(run, r"Unknown setting 'model\.latnet'; did you mean 'latent'\?")
    edit(run, lambda c: c["settings"]["model"].pop("latnet"))
    edit(run, lambda c: c["settings"]["model"].update(latent=[3]))
    refused(run, r"model\.latent takes a whole number")


@pytest.mark.parametrize(
    "name", ["../../x", "os:system", "/etc/passwd", "vae:VAE", "", "VAE", "\x1b[2J", "a\nb", "x" * 10**6]
)
def test_only_names_of_the_registry_are_models(name: str, run: Path) -> None:
    edit(run, lambda c: c.update(model=name))
    refused(run, "'model' is no name of a model")


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("facts", {"height": 10**9}),
        ("facts", {"width": 10**400}),
        ("facts", {"channels": 17}),
        ("facts", {"height": 0}),
        ("facts", {"channels": 16, "height": 16384, "width": 16384}),
        ("model", {"latent": 10**9}),
        ("model", {"latent": "1000000000"}),
        ("model", {"latent": 10**400}),
        ("model", {"latent": 0}),
        ("model", {"latent": -3}),
        ("model", {"width": 65536}),
        ("model", {"width": 65536, "latent": 65536, "network": "conv", "depth": 32}),
        ("model", {"width": 65536, "latent": 65536, "network": "resnet", "depth": 32}),
        ("model", {"depth": 60000}),
        ("model", {"depth": -1}),
        ("model", {"components": 10**9, "likelihood": "logistic"}),
        ("model", {"samples": 10**9}),
        ("model", {"network": "os.system"}),
        ("model", {"x" * 10**6: 1}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_absurd_sizes_are_refused_before_anything_is_built(section: str, change: dict[str, Any], run: Path) -> None:
    edit(run, lambda c: (c["facts"] if section == "facts" else c["settings"]["model"]).update(change))
    single = section == "facts" and len(change) == 1
    refused(run, rf"'facts\.{next(iter(change))}' is no number from 1 to" if single else ".")


def test_the_largest_of_everything_is_refused_quickly(run: Path) -> None:
    edit(run, lambda c: c["facts"].update(channels=16, height=16384, width=16384))
    edit(run, lambda c: c["settings"]["model"].update(network="resnet", width=65536, latent=65536, depth=32))
    refused(run)


def test_newer_and_unknown_formats(run: Path) -> None:
    edit(run, lambda c: c.update(format=artifact.FORMAT + 1, news={"x": 1}))
    refused(run, rf"newer reverie \(format {artifact.FORMAT + 1}.*pip install -U reverie")
    for number in (0, -5):
        edit(run, lambda c, number=number: c.update(format=number))
        refused(run, f"unknown format version {number}")


def test_migrations_are_followed_in_order(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(run, lambda c: c.update(size=c.pop("facts")))

    def facts_by_name(config: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in config.items() if k != "size"} | {"facts": config["size"], "format": 2}

    def count(config: dict[str, Any]) -> dict[str, Any]:
        return config | {"format": 3}

    monkeypatch.setattr("reverie.artifact.config.FORMAT", 3)
    monkeypatch.setattr(
        "reverie.artifact.config.MIGRATIONS", {1: ("size became facts", facts_by_name), 2: ("nothing", count)}
    )
    found = load(run)
    assert found.image_spec == SPEC
    assert found.config["format"] == 3
    edit(run, lambda c: c.pop("size"))
    refused(run, r"can't be migrated \(size became facts\)")


# model.safetensors


def tensors_of(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def keep(folder: Path, tensors: dict[str, Tensor]) -> None:
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors")


KEY = "mixture.means"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.pop(KEY), f"'{KEY}': nothing in the file, F32 .* expected"),
        (lambda t: t.update(extra=torch.zeros(1)), r"'extra': F32 \(1,\) in the file, nothing expected"),
        (lambda t: t.update({"../../evil": torch.zeros(1)}), "'../../evil'"),
        (lambda t: t.update({"x" * 10**5: torch.zeros(1)}), "'xxx"),
        (lambda t: t.update({KEY: t[KEY].T}), rf"'{KEY}': F32 \(3, 10\) in the file, F32 \(10, 3\) expected"),
        (lambda t: t.update({KEY: t[KEY].double()}), "F64"),
        (lambda t: t.update({KEY: t[KEY].half()}), "F16"),
        (lambda t: t.update({KEY: t[KEY].bfloat16()}), "BF16"),
        (lambda t: t.update({KEY: t[KEY].int()}), "I32"),
        (lambda t: t.update({KEY: t[KEY].bool()}), "BOOL"),
        (lambda t: t.clear(), "nothing in the file"),
    ],
)
def test_tensors_that_do_not_fit(change: Callable[[dict[str, Tensor]], object], match: str, run: Path) -> None:
    tensors = tensors_of(run)
    change(tensors)
    keep(run, tensors)
    refused(run, match)


def test_weights_of_another_model(run: Path, tmp_path: Path) -> None:
    written(tmp_path / "other", "ae")
    os.replace(tmp_path / "other" / "model.safetensors", run / "model.safetensors")
    refused(run, r"does not fit config\.json at")


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, -1, -1000])
def test_truncated_weights(length: int, run: Path) -> None:
    file = run / "model.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    refused(run, r"model\.safetensors is damaged")


def header(entries: dict[str, Any] | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


@pytest.mark.parametrize(
    "content",
    [
        header({}, length=2**63),
        header({}, length=2**64 - 1),
        header({}, length=10**9),
        header(b"[" * 100_000),
        header(b'{"a":' * 100_000),
        header(b"\xff" * 50),
        header({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        header({"x": {"dtype": "F32", "shape": [2**62, 8], "data_offsets": [0, 0]}}),
        header({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
        header({"x": {"dtype": "O", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, bytes(4)),
        header({k: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for k in "xy"}, bytes(4)),
        header({KEY: {"dtype": "F32", "shape": [1] * 1000, "data_offsets": [0, 4]}}, bytes(4)),
    ],
    ids=range(13),
)
def test_hostile_headers(content: bytes, run: Path) -> None:
    (run / "model.safetensors").write_bytes(content)
    refused(run, r"model\.safetensors (is damaged|does not fit)")


class Bomb:
    """Unpickled, it creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("kind", ["pickle", "torch", "old torch"])
@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_pickles_are_never_opened(kind: str, file: str, run: Path, tmp_path: Path) -> None:
    target = tmp_path / "exploded"
    pickle.loads(pickle.dumps(Bomb(target)))
    target.rmdir()  # so the bomb works
    if kind == "pickle":
        (run / file).write_bytes(pickle.dumps(Bomb(target)))
    else:
        torch.save({"x": Bomb(target)}, run / file, _use_new_zipfile_serialization=kind == "torch")
    (run / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(target)))
    refused(run, "is damaged")
    assert not target.exists()
