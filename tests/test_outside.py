"""Models of anybody's module: registered, given as a class or an instance, imported by --import or installed."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import reverie
from cases import SPEC, spec_for, tiny
from commands import fails, run, succeeds, words_for
from outside import Outside
from reverie import registry
from reverie.artifact import build_model, describe, load, read_config, write_config, write_weights
from reverie.data import DataOptions
from reverie.engine.model import ImageSpec, Model, OptimizerSpec, Phase
from reverie.engine.plan import Plan
from reverie.errors import ReverieError
from reverie.models.vae import VAE, VAEConfig
from reverie.reporting.card import write_card
from reverie.reporting.report import write_report

Capture = pytest.CaptureFixture[str]
DATA = {"spec": "digits", "fingerprint": "0", "pictures": 1}


@pytest.fixture(autouse=True)
def registered_here_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MODELS", dict(registry.MODELS))


class Unregistered(VAE):
    """Not known by any name.

    This is said of it nowhere.
    """

    paper = ""


def write(folder: Path, model: Model, *, name: str = "", outside: bool = False) -> None:
    sections = {"train": asdict(Plan()), "data": asdict(DataOptions())}
    name = name or registry.name_for(type(model))
    write_config(folder, describe(name, model, sections, DATA, outside=outside))
    write_weights(folder, model)


def coder() -> dict[str, nn.Module]:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 7), nn.Tanh(), nn.Linear(7, 6))
    return {"encoder": encoder, "decoder": nn.Sequential(nn.Linear(3, 64), nn.Unflatten(1, (1, 8, 8)))}


def own(**settings: Any) -> VAE:
    """A VAE with networks of its own, and other weights at each call."""
    return VAE(VAEConfig(latent=3, **settings), SPEC, **coder())


# Names


def test_a_registered_model_is_known_by_its_name() -> None:
    assert "outside" in registry.names()
    assert registry.load_class("outside") is Outside
    assert registry.preset("outside") == {"units": 8}
    assert registry.entry("outside").line == "A VAE that also pays for absolute errors (nobody 2026)"
    assert "outside" in registry.able(reverie.capabilities.Bounds)
    model = tiny("outside", width=4)
    assert isinstance(model, Outside)
    assert (model.config.units, model.config.latent) == (8, 3)


def test_summary_paper_and_several_names() -> None:
    reverie.register_model("own-1", summary="Something else.", paper="me", preset={"units": 20})(Outside)
    reverie.register_model("own-2")(Unregistered)
    assert registry.entry("own-1").line == "Something else (me)"
    assert registry.entry("own-2").line == "Not known by any name"
    assert build_model("own-1", {}, SPEC).config.units == 20  # type: ignore[union-attr]
    assert [registry.name_of(kind) for kind in (Outside, Unregistered, VAE, Model)] == ["outside", "own-2", "vae", None]
    assert registry.able(reverie.capabilities.Bounds)[-2:] == ["outside", "own-2"]  # a class by its first name


def test_the_name_of_a_class_without_one() -> None:
    assert registry.name_for(Unregistered) == "unregistered"
    assert registry.name_for(Outside) == "outside"
    assert registry.name_for(type("_Größe2", (VAE,), {})) == "gre2"


def test_a_class_that_is_defined_anew_replaces_itself() -> None:
    code = "@reverie.register_model('cell')\nclass Cell(VAE):\n    number = {}\n"
    for number in (1, 2):
        exec(code.format(number), {"reverie": reverie, "VAE": VAE, "__name__": "notebook"})
        assert registry.load_class("cell").number == number  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["", "Mine", "my model", "../x", "a" * 65, "-a", "größe", "a\n"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ReverieError, match="A model cannot be called"):
        reverie.register_model(name)


@pytest.mark.parametrize(("name", "whose"), [("vae", "vae:VAE"), ("outside", "outside:Outside")])
def test_names_that_are_taken(name: str, whose: str) -> None:
    with pytest.raises(ReverieError, match=f"The name '{name}' is that of the model {whose}"):
        reverie.register_model(name)(Unregistered)


@dataclass
class Needy:
    size: int


@dataclass
class Endless:
    size: float = float("inf")


def lacking(**attributes: Any) -> type:
    return type("Lacking", (VAE,), attributes)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (nn.Linear, "Linear is no model: it must inherit from reverie.engine.model.Model"),
        (own, "own is no model"),
        (type("Bare", (Model,), {}), "Bare is no whole model: it lacks the methods optimizers, phases"),
        (type("Half", (reverie.capabilities.Samples, Model), {}), "lacks the methods decode, draw_latent, optimizers"),
        (lacking(Config=None), r"Lacking\.Config must be a dataclass"),
        (lacking(Config=VAEConfig()), r"Lacking\.Config must be a dataclass"),
        (lacking(Config=Needy), "Every setting of Lacking needs a default; give size one"),
        (lacking(Config=Endless), "model.size takes a number, not inf"),
        (lacking(taxonomy="best"), "Lacking.taxonomy must be one of explicit tractable, .*, not 'best'"),
    ],
)
def test_classes_that_are_no_models(kind: Any, said: str) -> None:
    with pytest.raises(ReverieError, match=said):
        reverie.register_model("mine")(kind)
    assert "mine" not in registry.names()
    if isinstance(kind, type) and issubclass(kind, Model):
        with pytest.raises(ReverieError, match=said):
            build_model(kind, {}, SPEC)


@pytest.mark.parametrize(("preset", "said"), [({"latnet": 3}, "did you mean 'latent'"), ({"latent": -1}, "at least 1")])
def test_presets_that_do_not_fit(preset: dict[str, Any], said: str) -> None:
    with pytest.raises(ReverieError, match=said):
        reverie.register_model("mine", preset=preset)(Outside)


def test_a_model_without_settings_and_words_of_its_own() -> None:
    @reverie.register_model("bare")
    class Bare(Model):
        def __init__(self, config: Any = None, image_spec: ImageSpec | None = None) -> None:
            super().__init__(config, image_spec)
            self.layer = nn.Linear(2, 2)

        def optimizers(self) -> dict[str, OptimizerSpec]:
            return {"main": OptimizerSpec(("layer",))}

        def phases(self) -> list[Phase]:
            return []

    assert registry.entry("bare").line == "Bare"
    assert build_model("bare", {}, SPEC).taxonomy == "unspecified"


# Installed packages


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Installs a package by its entry points and the source of its module ``package_x``."""

    def install(points: str, source: str) -> None:
        info = tmp_path / "site" / "package_x-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: package-x\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[reverie.models]\n{points}\n")
        (tmp_path / "site" / "package_x.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path / "site")

    yield install
    sys.modules.pop("package_x", None)


def test_models_of_installed_packages(installed: Callable[[str, str], None], capsys: Capture) -> None:
    installed(
        "theirs = package_x:Theirs\nstrong = package_x:Theirs\nbroken = package_x:Nobody\nvae = package_x:Theirs\n"
        "none = package_x:number",
        "import reverie\nfrom reverie.models.vae import VAE\nnumber = 3\n"
        "@reverie.register_model('strong', preset={'beta': 9})\nclass Theirs(VAE):\n    'From elsewhere.'\n",
    )
    assert {"theirs", "strong", "broken", "none"} < set(registry.names())
    assert "package_x" not in sys.modules  # nothing is imported before it is asked for
    assert registry.entry("theirs").line == "From elsewhere (Kingma & Welling 2014)"
    assert registry.preset("strong") == {"beta": 9}
    assert registry.load_class("vae") is VAE  # reverie's own names stay its own
    with pytest.raises(ReverieError, match="The model 'broken' of package-x cannot be taken from package_x:Nobody"):
        registry.load_class("broken")
    with pytest.raises(ReverieError, match=r"The model 'none' of package-x .*\(int is no model"):
        registry.load_class("none")
    assert "broken" not in registry.able()
    listed = succeeds(capsys, "models")
    assert "theirs" in listed
    assert "cyclegan" in listed
    assert "The model 'broken' of package-x" in fails(capsys, "models", "broken")


# Artifacts


def same(a: Model, b: Model) -> bool:
    images = torch.linspace(-1, 1, 5 * 64).view(5, 1, 8, 8)
    codes = [model.eval().encode(images).mean for model in (a, b)]  # type: ignore[operator]
    return torch.equal(codes[0], codes[1]) and torch.equal(*(reverie.sample(model, 4) for model in (a, b)))


def test_an_instance_is_loaded_in_place(tmp_path: Path) -> None:
    trained, mine = own(), own()
    write(tmp_path, trained, outside=True)
    config = read_config(tmp_path)
    assert (config["model"], config["outside"]) == ("vae", True)
    with torch.no_grad():
        assert not same(trained, mine)
        found = load(tmp_path, model=mine)
        assert found.model is mine
        assert (found.name, found.image_spec) == ("vae", SPEC)
        assert same(trained, mine)
    assert not mine.training
    assert not any(weight.requires_grad for weight in mine.parameters())


def test_an_instance_is_needed_where_networks_were_given(tmp_path: Path) -> None:
    write(tmp_path, own(), outside=True)
    with pytest.raises(ReverieError, match=r"of a model 'vae' that its name and settings do not build again.*model="):
        load(tmp_path)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            lambda: VAE(VAEConfig(latent=3, network="mlp"), SPEC),
            r"other settings than that of .*: its network is mlp, not conv",
        ),
        (lambda: VAE(VAEConfig(latent=4), SPEC), "its latent is 4, not 3; build it as for the training"),
        (lambda: VAE(VAEConfig(latent=3), SPEC), "does not fit config.json at '"),
        (
            lambda: VAE(VAEConfig(latent=3), ImageSpec(1, 8, 8)),
            r"image_spec\.classes is \(\), not \('cat', 'dog', 'owl'\)",
        ),
        (lambda: VAE(VAEConfig(latent=3), dataclasses.replace(SPEC, width=9)), r"its image_spec\.width is 9, not 8"),
    ],
)
def test_an_instance_that_does_not_fit(model: Callable[[], Model], said: str, tmp_path: Path) -> None:
    write(tmp_path, own(), outside=True)
    given = model()
    before = {key: value.clone() for key, value in given.state_dict().items()}
    with pytest.raises(ReverieError, match=said):
        load(tmp_path, model=given)
    assert all(torch.equal(value, before[key]) for key, value in given.state_dict().items())


def test_settings_of_an_instance_may_be_anything(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Odd(VAEConfig):
        most: float = float("inf")
        kind: type = nn.Linear

    model = VAE(Odd(latent=3), SPEC, **coder())
    write(tmp_path, model, outside=True)
    settings = read_config(tmp_path)["settings"]["model"]
    assert (settings["latent"], settings["most"]) == (3, "inf")
    assert load(tmp_path, model=model).model is model


def test_a_run_of_a_class_that_nobody_registered(tmp_path: Path) -> None:
    model = Unregistered(VAEConfig(latent=3, width=2), SPEC)
    write(tmp_path, model)
    with pytest.raises(ReverieError) as refused:
        load(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path} is of the model 'unregistered', which is not part of reverie and which no imported code has "
        "registered; import the module that defines it (--import MODULE on the command line), or give "
        "reverie.load(path, model=...)."
    )
    assert read_config(tmp_path)["settings"]["model"]["width"] == 2
    with torch.no_grad():
        assert same(load(tmp_path, model=Unregistered).model, model)
        reverie.register_model("unregistered")(Unregistered)
        assert same(load(tmp_path).model, model)


def test_a_class_that_is_called_like_another_model(tmp_path: Path) -> None:
    like = type("AE", (VAE,), {})
    write(tmp_path, like(VAEConfig(latent=3, width=2), SPEC), name="ae")
    with pytest.raises(ReverieError, match="do not build again"):
        load(tmp_path)
    assert type(load(tmp_path, model=like).model) is like


def test_a_file_cannot_say_what_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "run", tiny("vae"))
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    changes: list[dict[str, Any]] = [{"model": "evil"}, {"model": "evil:VAE"}, {"import": "evil"}]
    for change in (*changes, {"outside": "evil"}, {"outside": False}):
        (tmp_path / "run" / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ReverieError):
            load(tmp_path / "run")
    assert "evil" not in sys.modules


class Looking(VAE):
    """Its constructor reads numbers off a tensor."""

    def __init__(self, config: VAEConfig | None = None, image_spec: ImageSpec | None = None) -> None:
        super().__init__(config, image_spec)
        self.steep = [float(x) for x in torch.linspace(0, 1, 3)]


def test_a_constructor_may_look_at_numbers(tmp_path: Path) -> None:
    model = build_model(Looking, {"latent": 3, "width": 2}, SPEC)
    write(tmp_path, model)
    with torch.no_grad():
        assert same(load(tmp_path, model=Looking).model, model)


def test_card_and_report_know_models_without_a_name(tmp_path: Path) -> None:
    model = Unregistered(VAEConfig(latent=3, width=2), SPEC)
    write(tmp_path, model)
    config = read_config(tmp_path)
    write_card(tmp_path, config, model)
    write_report(tmp_path, model.eval(), reverie.open_dataset("digits"))
    card = (tmp_path / "README.md").read_text()
    assert "\nNot known by any name, explicit approximate density, for pictures of" in card
    assert "Not known by any name; explicit approximate density." in (tmp_path / "report.html").read_text()
    write(tmp_path / "known", tiny("vae"))
    for given in (None, VAE, tiny("vae")):
        write_card(tmp_path / "known", read_config(tmp_path / "known"), given)
        card = (tmp_path / "known" / "README.md").read_text()
        assert "\nVariational autoencoder (Kingma & Welling 2014), explicit approximate density" in card


# The command line


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the current folder that registers the model 'local'."""
    (tmp_path / "local_models.py").write_text(
        "from dataclasses import dataclass\nimport reverie\nfrom reverie.models.vae import VAE, VAEConfig\n\n\n"
        "@dataclass(frozen=True)\nclass LocalConfig(VAEConfig):\n    grain: int = 5  # how rough\n\n\n"
        "@reverie.register_model('local', paper='us')\nclass Local(VAE):\n"
        '    """A model of this folder."""\n\n    Config = LocalConfig\n'
    )
    (tmp_path / "local_broken.py").write_text("import math\nmath.nothing\n")
    (tmp_path / "local_needs.py").write_text("import local_missing_thing\n")
    (tmp_path / "local_takes.py").write_text("import reverie\nreverie.register_model('vae')(reverie.Run)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "local_models"
    sys.modules.pop("local_models", None)


def test_import_before_and_after_a_command(module: str, tmp_path: Path, capsys: Capture) -> None:
    small = ("--set", "model.width=2", "model.latent=3", "model.network=mlp")
    run("--import", module, *words_for(tmp_path / "run", *small, model="local"))
    found = load(tmp_path / "run")
    assert found.name == "local"
    assert type(found.model).__module__ == module
    assert "model.grain=5" in succeeds(capsys, "models", "local", f"--import={module}")
    listed = succeeds(capsys, "models", "--import", module, "--import", "json")
    assert "local" in [line.split()[0] for line in listed.splitlines() if line]
    assert "A model of this folder (us)" in " ".join(listed.split())
    code = [sys.executable, "-m", "reverie", "sample", "run", "--count", "1", "--device", "cpu"]
    refused = subprocess.run(code, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "is of the model 'local', which is not part of reverie" in refused.stderr
    assert "--import MODULE" in refused.stderr
    subprocess.run([*code, "--import", module, "--out", "drawn.png"], check=True)
    assert (tmp_path / "drawn.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--import", "no_such_module_here"], "There is no Python module no_such_module_here, neither in "),
        (["--import", "local_models.deeper"], "cannot be imported|There is no Python module local_models.deeper"),
        (["--import", "local_broken"], "local_broken cannot be imported (AttributeError: module 'math' has no"),
        (["--import", "local_needs"], "local_needs cannot be imported (ModuleNotFoundError: No module named 'local_m"),
        (["--import", "local_takes"], "--import local_takes: Run is no model"),
        (["--import", "local_models.py/"], "--import takes the name of a Python module, say my_models"),
        (["--import"], "--import takes the name of a Python module"),
        (["--import="], "--import takes the name of a Python module"),
    ],
)
def test_modules_that_cannot_be_imported(words: list[str], said: str, module: str, capsys: Capture) -> None:
    found = fails(capsys, "models", *words)
    assert any(each in found for each in said.split("|"))


def test_words_after_two_dashes_are_left_alone(module: str, capsys: Capture) -> None:
    assert "--import" in fails(capsys, "data", "--", "--import")
    assert module not in sys.modules


def test_the_help_tells_of_it(capsys: Capture) -> None:
    assert "--import MODULE" in succeeds(capsys, "--help")


# What building leaves alone


@pytest.mark.parametrize("name", ["vae", "stylegan2", "cyclegan", "outside"])
def test_building_and_loading_leave_the_generators_as_they_were(name: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)

    def numbers() -> tuple[Tensor, Any, float]:
        return torch.rand(3), np.random.rand(3).tolist(), random.random()  # noqa: NPY002

    expected = [numbers() for _ in range(3)]
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    found = [numbers()]
    first = tiny(name, seed=3)
    found.append(numbers())
    write(tmp_path, first, name=name)
    load(tmp_path)
    found.append(numbers())
    assert str(found) == str(expected)
    torch.manual_seed(6)
    again, other = tiny(name, seed=3).state_dict(), tiny(name, seed=4).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.state_dict().items())
    assert any(not torch.equal(value, other[key]) for key, value in again.items())


def test_weights_are_a_function_of_the_seed_alone() -> None:
    """The numbers that torch's own generator gives where it is seeded by hand, whatever device is the default."""
    from reverie.engine.randomness import derive

    torch.manual_seed(derive(3, "init"))
    expected = registry.load_class("vae")(tiny("vae").config, spec_for("vae")).state_dict()
    with torch.device("meta"):
        found = tiny("vae", seed=3).state_dict()
    assert all(torch.equal(value, found[key]) for key, value in expected.items())


def test_reverie_is_imported_from_a_tree_that_nobody_installed(tmp_path: Path) -> None:
    (tmp_path / "reverie").symlink_to(Path(reverie.__file__).parent, target_is_directory=True)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import reverie; print(reverie.__version__)"
    said = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "0+unknown"
    assert os.path.samefile(tmp_path / "reverie", Path(reverie.__file__).parent)
