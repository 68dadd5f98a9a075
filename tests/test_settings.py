"""Settings declare themselves: what a field says of its meaning, range and choices is what is listed and refused."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any

import pytest

import outside  # noqa: F401  (registers a model of its own)
import reverie
from commands import succeeds
from reverie import registry
from reverie.config import Setting, check_range, configure, settings_of
from reverie.data import DataOptions
from reverie.engine.model import ImageSpec
from reverie.engine.plan import Plan
from reverie.errors import ReverieError
from reverie.models.cyclegan import CycleGANConfig
from reverie.models.dcgan import CGANConfig, DCGANConfig
from reverie.models.gan import GANConfig
from reverie.models.vae import VAE, VAEConfig

SECTIONS = [("model", registry.load_class(name).Config) for name in registry.MODELS]
KINDS = list(dict.fromkeys([*SECTIONS, ("train", Plan), ("data", DataOptions)]))
BESIDE = {"data.validation": {"test": 0}, "data.test": {"validation": 0}}  # they must not reach 1 together


def declared() -> list[Any]:
    """Every setting of every class, but those that a class has from its parent as they are."""
    rows = {(section, row): kind for section, kind in reversed(KINDS) for row in settings_of(kind)}
    return [pytest.param(section, kind, row, id=f"{kind.__name__}.{row.name}") for (section, row), kind in rows.items()]


def named(kind: type) -> dict[str, Setting]:
    return {row.name: row for row in settings_of(kind)}


@pytest.mark.parametrize(("section", "kind", "row"), declared())
def test_a_setting_means_something_and_is_refused_just_beyond_its_ends(section: str, kind: type, row: Setting) -> None:
    key = f"{section}.{row.name}"
    assert row.help

    def given(value: Any) -> Any:
        return getattr(configure(kind, BESIDE.get(key, {}) | {row.name: value}, section), row.name)

    def neighbour(value: float, up: bool) -> float:
        if row.type.startswith("a whole number"):
            return int(value) + (1 if up else -1)
        return math.nextafter(value, math.inf if up else -math.inf)

    def shown(value: float) -> str:
        return str(value) if isinstance(value, int) else f"{value:g}"

    ends = {"low": ("at least", False), "above": ("more than", True), "high": ("at most", True)}
    for end, (words, up) in (ends | {"below": ("less than", False)}).items():
        if (bound := getattr(row, end)) is None:
            continue
        within, beyond = bound, neighbour(bound, up)
        if end in ("above", "below"):
            within, beyond = beyond, within
        assert given(within) == within
        said = f"{key} must be {words} {shown(bound)}, not {shown(beyond)}."
        with pytest.raises(ReverieError, match=f"^{re.escape(said)}$"):
            given(beyond)
    for choice in row.choices:
        assert given(choice) == choice
    if row.choices:
        with pytest.raises(ReverieError, match=f"^{key} cannot be 'neither of them'; "):
            given("neither of them")


@pytest.mark.parametrize(("section", "kind"), KINDS)
def test_defaults_lie_within_what_is_declared(section: str, kind: type) -> None:
    for row in settings_of(kind):
        if row.default is not None:
            assert getattr(configure(kind, {row.name: row.default}, section), row.name) == row.default
    for name, value in dataclasses.asdict(configure(kind, {}, section)).items():
        assert value == named(kind)[name].default


@pytest.mark.parametrize("name", registry.MODELS)
def test_presets_and_what_models_ask_of_the_loop_lie_within_too(name: str) -> None:
    kind, preset = registry.load_class(name), registry.preset(name)
    assert {row.name: row.default for row in settings_of(kind.Config, preset)} == dataclasses.asdict(
        configure(kind.Config, preset, "model")
    )
    assert Plan().with_defaults(kind.defaults).ema == kind.defaults.ema


def test_what_is_built_directly_is_checked_too() -> None:
    for wrong, said in (
        (lambda: VAEConfig(latent=-1), "model.latent must be at least 1, not -1."),
        (
            lambda: dataclasses.replace(VAEConfig(), bound="ebo"),
            "model.bound cannot be 'ebo'; did you mean 'elbo'?",
        ),
        (lambda: CycleGANConfig(pool=10_001), "model.pool must be at most 10000, not 10001."),
        (lambda: VAEConfig(beta=math.nan), "model.beta must be at least 0, not nan."),
        (lambda: Plan(ema=1.0), "train.ema must be less than 1, not 1."),
        (lambda: Plan(minutes=0), "train.minutes must be more than 0, not 0."),
        (lambda: DataOptions(pair="blurr"), "data.pair cannot be 'blurr'; did you mean 'blur'?"),
    ):
        with pytest.raises(ReverieError, match=f"^{re.escape(said)}$"):
            wrong()
    assert Plan(steps=None, lr_schedule=None).steps is None


def test_settings_are_plain_values() -> None:
    config = VAEConfig(latent=3)
    assert (VAEConfig.latent, config.latent, config.lr) == (32, 3, 1e-3)
    assert config == dataclasses.replace(VAEConfig(), latent=3) != VAEConfig()
    assert hash(config) == hash(VAEConfig(latent=3))


def test_a_subclass_keeps_what_it_does_not_say_anew() -> None:
    parent, child, grandchild = map(named, (GANConfig, DCGANConfig, CGANConfig))
    assert child["latent"] == dataclasses.replace(parent["latent"], default=100)  # a plain default
    assert (child["r1"].low, child["r1"].high) == (parent["r1"].low, parent["r1"].high) == (0, 1e9)
    assert child["r1"].help != parent["r1"].help
    assert list(grandchild) == [*parent, "condition"]
    assert {name: grandchild[name] for name in child} == child


@dataclass(frozen=True)
class Theirs:
    plain: int = 3
    sizes: tuple[int, ...] = reverie.setting((8, 16), "units of the layers", low=1)
    share: float | None = reverie.setting(None, above=0, below=1)
    how: str = reverie.setting("so", "as one likes", choices=["so", "or"])


def test_settings_of_a_class_of_ones_own() -> None:
    assert settings_of(Theirs, {"plain": 4}) == [
        Setting("plain", "a whole number", 4),
        Setting("sizes", "a comma-separated list", (8, 16), "units of the layers", low=1),
        Setting("share", "a number or none", None, above=0, below=1),
        Setting("how", "a word", "so", "as one likes", choices=("so", "or")),
    ]
    assert [row.line for row in settings_of(Theirs)] == [
        "",
        "units of the layers (at least 1)",
        "(more than 0, less than 1)",
        "as one likes (so | or)",
    ]
    assert configure(Theirs, {"sizes": "1,2", "share": "none", "plain": -1}, "model") == Theirs(-1, (1, 2))
    for wrong, said in (
        ({"sizes": "4,0"}, "model.sizes must be at least 1, not 0."),
        ({"share": "0"}, "model.share must be more than 0, not 0."),
        ({"how": "sso"}, "model.how cannot be 'sso'; did you mean 'so'?"),
    ):
        with pytest.raises(ReverieError, match=f"^{re.escape(said)}$"):
            configure(Theirs, wrong, "model")


def test_a_model_checks_a_config_of_ones_own() -> None:
    @dataclass(frozen=True)
    class Stretched(VAEConfig):
        network: str = "mlp"
        stretch: float = reverie.setting(1.0, "how far", low=0)

        def __post_init__(self) -> None:
            """Checks nothing."""

    assert VAE(Stretched(latent=2, width=1), ImageSpec(1, 8, 8)).config.stretch == 1
    with pytest.raises(ReverieError, match=r"^model\.stretch must be at least 0, not -1\.$"):
        VAE(Stretched(stretch=-1), ImageSpec(1, 8, 8))


def test_listing_and_help_say_what_is_declared(capsys: pytest.CaptureFixture[str]) -> None:
    listed = succeeds(capsys, "models", "cyclegan").splitlines()
    assert "model.pool=50                       past fakes kept of each side (1 to 10000)" in listed
    for section, kind in (("model", CycleGANConfig), ("train", Plan), ("data", DataOptions)):
        for row in settings_of(kind):
            line = next(line for line in listed if line.startswith(f"{section}.{row.name}="))
            assert line.endswith(row.line)
    said = re.sub(r"[\s│]+", " ", succeeds(capsys, "train", "--help")).replace("--during-training INT ", "")
    for name in ("minutes", "epochs", "steps", "batch_size", "lr", "seed", "evaluate_every", "workers"):
        meaning = named(Plan)[name].help
        assert f"{meaning[0].upper()}{meaning[1:]}." in said


@pytest.mark.parametrize(
    ("value", "ends", "said"),
    [
        (0, {"low": 1}, "at least 1, not 0"),
        (1, {"above": 1, "high": 2}, "more than 1, not 1"),
        (1.0, {"above": 0, "below": 1}, "less than 1, not 1"),
        (2.5, {"low": 1, "high": 2}, "at most 2, not 2.5"),
        (1_000_001, {"high": 1_000_000}, "at most 1000000, not 1000001"),
        (math.nan, {"high": 1}, "at most 1, not nan"),
        (math.inf, {"low": 1}, "a finite number, not inf"),
        (math.nan, {}, "a finite number, not nan"),
    ],
)
def test_numbers_outside_of_a_range_are_refused_in_one_form(value: float, ends: dict[str, float], said: str) -> None:
    with pytest.raises(ReverieError, match=f"^--count must be {re.escape(said)}\\.$"):
        check_range("--count", value, **ends)


def test_ends_that_are_allowed() -> None:
    for value, ends in ((1, {"low": 1, "high": 1}), (1.5, {"above": 1, "below": 2}), (-1e300, {})):
        check_range("--count", value, **ends)
