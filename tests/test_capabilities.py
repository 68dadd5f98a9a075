"""What capabilities promise, over every model of the registry that has them."""

from __future__ import annotations

import pytest
import torch

import reverie
from cases import tiny
from reverie import registry
from reverie.capabilities import Conditions, Discriminates, Samples
from reverie.engine.model import ImageSpec
from reverie.errors import ReverieError
from reverie.inference.latent_space import latent_space
from reverie.tasks.project import project

SPEC = ImageSpec(3, 12, 8, ("cat", "dog", "owl"))  # not square


def having(capability: type) -> list[str]:
    return [name for name in registry.names() if issubclass(registry.load_class(name), capability)]


@pytest.mark.parametrize("name", having(Discriminates))
@torch.no_grad()
def test_a_discriminator_judges_each_picture_alone(name: str) -> None:
    model = tiny(name, SPEC).eval()
    assert isinstance(model, Discriminates)
    images = torch.rand(6, *SPEC.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    labels = torch.tensor([2, 0, 1, 1, 0, 2]) if isinstance(model, Conditions) else None
    found = model.realness(images, labels)
    assert found.shape == (6,)
    assert found.std() > 0
    assert torch.equal(found, model.realness(images, labels))
    for i in range(6):
        alone = model.realness(images[i : i + 1], None if labels is None else labels[i : i + 1])
        assert torch.allclose(alone, found[i : i + 1], atol=1e-5)


@pytest.mark.parametrize("name", having(Samples))
def test_pictures_are_projected_onto_every_model_that_draws(name: str) -> None:
    model = tiny(name, SPEC).eval()
    assert isinstance(model, Samples)
    labels = [1, 0] if isinstance(model, Conditions) else None
    images = torch.rand(2, *SPEC.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    found = project(model, images, labels, steps=6, starts=2)
    assert found.pictures.shape == images.shape
    assert found.latents.isfinite().all()
    given = None if labels is None else torch.tensor(labels)
    with torch.no_grad():
        again = latent_space(model).decode(found.latents, given)
    assert torch.allclose(again, found.pictures, atol=1e-5)
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("shape", [(3, 8, 12), (1, 12, 8), (4, 12, 8)])
def test_pictures_of_another_shape_are_one_sentence(shape: tuple[int, int, int]) -> None:
    vae, gan = tiny("vae", SPEC).eval(), tiny("dcgan", SPEC).eval()
    images = torch.zeros(2, *shape)
    channels, height, width = shape
    options = reverie.DataOptions(size=f"{height}x{width}", channels=str(channels), limit=20)
    data = reverie.open_dataset("digits", options)
    told = f"The pictures are {'x'.join(map(str, shape))} .* takes 3x12x8"
    for ask in (
        lambda: reverie.reconstruct(vae, images),
        lambda: reverie.latents_of(vae, images),
        lambda: reverie.restore(vae, reverie.add_noise(images, 0.1)),
        lambda: reverie.embed(vae, data),
    ):
        with pytest.raises(ReverieError, match=told):
            ask()
    with pytest.raises(ReverieError, match=told):
        reverie.project(gan, images)
