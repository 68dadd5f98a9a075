"""The loop's promises, over every registered model and the toys."""

from __future__ import annotations

import functools
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cases import BATCH_STATISTICS, NAMES, SPEC, loop_for, settings_for, spec_for, tiny
from reverie.engine.checkpoint import CheckpointFolder
from reverie.engine.ema import EMA
from reverie.engine.loop import Diverged, Loop, Means
from reverie.engine.model import Batch, ImageSpec
from reverie.engine.randomness import DataOrder, Draw, DrawEach, derive
from reverie.errors import ReverieError
from toys import Alternating, Pictures, ThreeWay


def snapshot(loop: Loop) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in loop.state()[0].items()}


@functools.cache
def uninterrupted(name: str) -> tuple[dict[str, torch.Tensor], Means, tuple[int, int]]:
    """What 12 steps at one go leave: the state, the means of the logs, and what was drawn and seen."""
    loop = loop_for(name)
    for _ in range(12):
        loop.advance()
    return snapshot(loop), loop.means(), (loop.drawn, loop.images)


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert a
    for key in a:
        assert torch.equal(a[key], b[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_a_phase_moves_only_its_own_networks(name: str) -> None:
    loop = loop_for(name, ema=0.0)
    for _ in range(2):  # the second step has optimizer state and gradients left over from the first
        for phase in loop.phases:
            phases, loop.phases = loop.phases, [phase]
            # A phase may need what an earlier one hands over, so hand over by running those first.
            loop.phases = phases[: phases.index(phase) + 1]
            before = {n: [p.detach().clone() for p in ps] for n, ps in loop.owned.items()}
            gradients: dict[str, bool] = {}
            step = loop.optimizers[phase.optimizer].step
            seen: list[str] = []

            def spy(*args: object, step=step, seen=seen, gradients=gradients, phase=phase, **kwargs: object) -> object:
                seen.append(phase.optimizer)
                for other, parameters in loop.owned.items():
                    if other != phase.optimizer:
                        gradients[other] = any(p.requires_grad for p in parameters)
                return step(*args, **kwargs)

            loop.optimizers[phase.optimizer].step = spy
            loop.advance()
            loop.optimizers[phase.optimizer].step = step
            ran = {p.optimizer for p in loop.phases}
            for other, parameters in loop.owned.items():
                same = all(torch.equal(x, y) for x, y in zip(before[other], parameters, strict=True))
                assert same == (other not in ran), other
            assert seen
            assert not any(gradients.values()), gradients
            loop.phases = phases


class NoHostReads(TorchDispatchMode):
    """Fails where the program must wait for the device: for a value, a size that depends on values, or an upload."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "lift_fresh")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        masked = name.startswith("index") and any(
            isinstance(each, torch.Tensor) and each.dtype == torch.bool
            for each in itertools.chain(*filter(is_list, args))
        )
        assert name not in self.FORBIDDEN, f"{name} waits for the device"
        assert not masked, f"{name} by a mask waits for the device"
        return func(*args, **(kwargs or {}))


def is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))


READS = {"progan", "growing"}  # their level, which decides the shapes of a step


@pytest.mark.parametrize("name", [*(name for name in NAMES if name not in READS), "gan, adaptive"])
def test_a_phase_reads_nothing_back_to_the_host(name: str) -> None:
    name, _, adaptive = name.partition(", ")
    model = tiny(name, **({"augment": "colour", "ada": 0.6} if adaptive else {}))
    images = torch.rand(4, *model.image_spec.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    labels = torch.arange(4) % len(model.image_spec.classes) if model.image_spec.classes else None
    for progress in (0.0, 0.5, 0.9):  # where parts of losses set in
        carry: dict[str, Any] = {}
        for phase in model.phases():
            with NoHostReads():
                loss, _ = phase.loss(Batch(images, labels, Draw(0, phase.name, count=4), progress), carry)
                loss.backward()


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_of_a_phase_reaches_another_network(name: str) -> None:
    loop = loop_for(name, ema=0.0)
    loop.advance()
    loop.advance()
    for phase in loop.phases:
        for optimizer in loop.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        loop.step = 0  # so that lazy phases are due
        pictures = loop.source.take(0, 8)
        carries: list[dict[str, object]] = [{}]
        for earlier in loop.phases[: loop.phases.index(phase)]:
            loop._run(earlier, pictures, 8, carries)
        for optimizer in loop.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        loop._run(phase, pictures, 8, carries)
        for other, parameters in loop.owned.items():
            got = any(p.grad is not None for p in parameters)
            assert got == (other == phase.optimizer), (phase.name, other)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cut", [1, 5, 7])
def test_resumed_equals_uninterrupted(name: str, cut: int, tmp_path: Path) -> None:
    first = loop_for(name)
    for _ in range(cut):
        first.advance()
    checkpoints = CheckpointFolder(tmp_path)
    checkpoints.save(first.step, *first.state())
    del first
    second = loop_for(name)
    found = checkpoints.newest()
    assert found is not None
    second.load_state(found[0], found[1])
    for _ in range(12 - cut):
        second.advance()
    state, means, counts = uninterrupted(name)
    assert_equal(state, snapshot(second))
    assert means == second.means()
    assert counts == (second.drawn, second.images)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (4, 8, 8), (2, 8, 12), (3, 17, 9)])
def test_trains_on_any_shape(name: str, shape: tuple[int, int, int]) -> None:
    if name == "growing" and shape != (1, 8, 8):
        return  # this toy is made for one size
    loop = loop_for(name, image_spec=ImageSpec(*shape, SPEC.classes))
    before = snapshot(loop)
    for _ in range(3):
        loop.advance()
    after = snapshot(loop)
    assert any(not torch.equal(before[k], after[k]) for k in before)
    assert all(math.isfinite(v) for v in loop.means().values() if isinstance(v, float))


@pytest.mark.parametrize("name", NAMES)
def test_every_seed_gives_its_own_run_and_the_same_seed_the_same(name: str) -> None:
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(runs))  # the state of the global generator must not matter
        loop = loop_for(name, seed=seed)
        torch.rand(3)
        for _ in range(3):
            loop.advance()
        runs.append(snapshot(loop))
    assert_equal(runs[0], runs[1])
    assert any(not torch.equal(runs[0][k], runs[2][k]) for k in runs[0])


def test_a_lazy_phase_runs_when_due_and_counts_for_the_steps_between() -> None:
    loop = loop_for("lazy", ema=0.0, clip=0, lr_schedule="constant", warmup=0.0)
    path = next(p for p in loop.phases if p.name == "path")
    loop.phases = [path]
    means = []
    for _ in range(7):
        loop.advance()
        means.append(float(loop.model.mean))
    changed = [means[0] != 0.0, *(a != b for a, b in itertools.pairwise(means))]
    assert changed == [True, False, False, True, False, False, True]
    # The gradient is that of the loss times `every`.
    loop = loop_for("lazy", ema=0.0, clip=0)
    pictures = loop.source.take(0, 8)
    loop._run(path := next(p for p in loop.phases if p.name == "path"), pictures, 8, [{}])
    scaled = [p.grad.clone() for p in loop.owned["g"]]
    fresh = tiny("lazy")
    draw = Draw(0, 0, "path", count=8)
    loss, _ = fresh.path(Batch(pictures[0], pictures[1], draw, 0.0), {})
    loss.backward()
    for got, parameter in zip(scaled, fresh.generator.parameters(), strict=True):
        torch.testing.assert_close(got, parameter.grad * path.every)


def test_new_batch_draws_fresh_pictures_and_the_others_share_one() -> None:
    seen: list[tuple[str, float]] = []

    class Spy(Alternating):
        def critic(self, batch, carry):
            seen.append((batch.draw.key[2], float(batch.images.sum())))
            return super().critic(batch, carry)

        def generator_loss(self, batch, carry):
            seen.append(("generator", float(batch.images.sum())))
            return super().generator_loss(batch, carry)

    loop = Loop(Spy(), Pictures(SPEC), loop_for("alternating").plan, torch.device("cpu"))
    loop.advance()
    (one, a), (two, b), (three, c) = seen
    assert (one, two, three) == ("critic1", "critic2", "generator")
    assert a != b
    assert b == c
    assert loop.drawn == 16
    assert loop.images == 8


def test_growth_shrinks_the_batch_and_is_saved() -> None:
    loop = loop_for("growing", steps=40)
    sizes = []
    for _ in range(12):
        before = loop.images
        loop.advance()
        sizes.append(loop.images - before)
    assert sizes == [8] * 8 + [4] * 4
    tensors, _ = loop.state()
    assert int(tensors["model.level"]) == 1
    assert 0 < float(tensors["model.fade"]) < 1


def test_vaegan_decoder_gradient_is_the_written_formula() -> None:
    loop = loop_for("threeway", ema=0.0, clip=0)
    model: ThreeWay = loop.model
    images, labels = loop.source.take(0, 8)
    carry: dict[str, torch.Tensor] = {}
    loop._run(loop.phases[0], (images, labels), 8, [carry])
    z, weights = carry["z"], [p.detach().clone().requires_grad_() for p in model.decoder.parameters()]
    loop._run(loop.phases[1], (images, labels), 8, [carry])
    got = [p.grad.clone() for p in model.decoder.parameters()]
    # By hand: the gradient of mse plus gamma times the gradient of the adversarial term.
    w1, b1, w2, b2 = weights
    out = torch.tanh(z @ w1.T + b1) @ w2.T + b2
    mse = (out - images.flatten(1)).square().mean()
    fooled = torch.log1p(torch.exp(-model.discriminator(out))).mean()
    rebuilt = torch.autograd.grad(mse, weights, retain_graph=True)
    adversarial = torch.autograd.grad(fooled, weights)
    for have, r, a in zip(got, rebuilt, adversarial, strict=True):
        torch.testing.assert_close(have, r + model.gamma * a)
    assert all(p.grad is None for p in model.discriminator.parameters())


ONE_BATCH = ("normed", "pool", "lazy", "dropping", *BATCH_STATISTICS)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ONE_BATCH])
def test_microbatches_add_up_to_one_batch(name: str) -> None:
    """Where the loss is a mean over pictures, two halves give the gradient of the whole."""
    if name in ("beta-tcvae", "infovae", "growing"):
        return  # their losses compare the pictures of a batch with each other
    settings = settings_for(name, sigma=0.5)
    losses = []
    for parts in (1, 2):
        loop = Loop(
            tiny(name, **settings),
            Pictures(spec_for(name)),
            loop_for(name, microbatches=parts, ema=0.0).plan,
            torch.device("cpu"),
        )
        loop.advance()
        losses.append({k: v for k, v in loop.state()[0].items() if k.startswith("model.")})
    for key in losses[0]:
        torch.testing.assert_close(losses[0][key], losses[1][key], rtol=1e-4, atol=2e-5)


def test_the_average_follows_with_the_ramped_decay_and_copies_buffers() -> None:
    loop = loop_for("normed", ema=0.9)
    assert loop.average is not None
    loop.advance()
    expected = {k: v.detach().clone() for k, v in loop.average.model.named_parameters()}
    for t in range(2, 6):
        loop.advance()
        decay = min(0.9, (1 + t) / (10 + t))
        for key, value in loop.model.named_parameters():
            expected[key] = decay * expected[key] + (1 - decay) * value.detach()
    average = loop.weights
    for key, value in average.named_parameters():
        torch.testing.assert_close(value, expected[key])
    for a, b in zip(average.buffers(), loop.model.buffers(), strict=True):
        assert torch.equal(a, b)
    assert not average.training


def test_the_average_of_a_long_run_is_that_of_every_step() -> None:
    """Updated every few steps later on, it stays where an update at each step would have led."""
    model = tiny("ae")
    average = EMA(model, 0.99)
    expected = {k: v.detach().clone() for k, v in model.named_parameters()}
    for step in range(1, 1601):
        if step == 1000:  # a jump, after which the average has to follow
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(1.0)
        average.update(step)
        decay = min(0.99, (1 + step) / (10 + step))
        for key, value in model.named_parameters():
            expected[key].lerp_(value.detach(), 1 - decay)
    for key, value in average.model.named_parameters():
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-4)
        assert (dict(model.named_parameters())[key] - value).abs().max() > 1e-3


def test_clipping_bounds_the_gradient_and_warmup_the_rate() -> None:
    loop = loop_for("ae", clip=1e-3, warmup=0.5, steps=10, lr_schedule="linear")
    rates = []
    for _ in range(10):
        loop.advance()
        norm = torch.stack([p.grad.norm() for p in loop.owned["main"] if p.grad is not None]).norm()
        assert float(norm) <= 1.001e-3
        rates.append(loop.optimizers["main"].param_groups[0]["lr"])
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[0] < rates[peak] / 3
    assert rates[-1] < rates[peak] / 3


def test_nan_stops_with_the_phase_and_the_step() -> None:
    loop = loop_for("alternating")
    for _ in range(3):
        loop.advance()
    with torch.no_grad():
        next(loop.model.generator.parameters()).fill_(math.nan)
    with pytest.raises(Diverged, match=r"phase 'critic1' became nan at step 4"):
        loop.advance()
    with pytest.raises(Diverged):
        loop.state()  # a broken state is never handed out to be saved


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ReverieError, match="multiple of 3"):
        loop_for("ae", microbatches=3).advance()


def test_draws_of_shards_are_rows_of_the_whole() -> None:
    whole = Draw("k", 1, count=8)
    halves = [Draw("k", 1, count=4, first=f, total=8) for f in (0, 4)]
    for method, args in (("normal", (3,)), ("uniform", (2, 2)), ("integers", (10, 5))):
        rows = torch.cat([getattr(h, method)(*args) for h in halves])
        assert torch.equal(getattr(whole, method)(*args), rows)
    first, second = Draw("k", 1, count=4), Draw("k", 2, count=4)
    assert not torch.equal(first.normal(3), second.normal(3))
    assert not torch.equal(first.normal(3), Draw("k", 1, count=4).normal(3))  # calls differ from each other


def test_draws_of_each_sample_do_not_depend_on_the_batch() -> None:
    a = DrawEach("k", samples=[5, 9, 2]).normal(4)
    b = DrawEach("k", samples=[2, 5]).normal(4)
    assert torch.equal(a[0], b[1])
    assert torch.equal(a[2], b[0])
    assert not torch.equal(a[0], a[1])


def test_draws_of_each_sample_are_distributed_as_they_say() -> None:
    draw = DrawEach(3, "k", samples=range(300))
    normal, uniform, dice = draw.normal(5, 60), draw.uniform(300), draw.integers(6, 300)
    assert normal.shape == (300, 5, 60)
    assert draw.uniform().shape == (300,)
    assert scipy.stats.kstest(normal.flatten().double().numpy(), "norm").pvalue > 1e-3
    assert scipy.stats.kstest(uniform.flatten().double().numpy(), "uniform").pvalue > 1e-3
    assert scipy.stats.chisquare(torch.bincount(dice.flatten(), minlength=6)).pvalue > 1e-3
    assert float(uniform.max()) < 1
    for table in (normal.flatten(1), uniform, dice.float()):  # neither samples nor places know of each other
        for side in (table, table.T):
            correlation = torch.corrcoef(side.double()).fill_diagonal_(0)
            assert float(correlation.abs().max()) < 0.35
            assert abs(float(correlation.mean())) < 0.002
    keys = torch.stack([DrawEach(key, "k", samples=range(1000)).normal(4).flatten() for key in (3, 4)])
    assert abs(float(torch.corrcoef(keys)[0, 1])) < 0.06  # other keys, other numbers


def test_order_visits_everything_once_an_epoch_and_ignores_how_it_is_asked() -> None:
    order = DataOrder(3, 10)
    one = order.take(0, 30).tolist()
    assert all(sorted(one[e : e + 10]) == list(range(10)) for e in (0, 10, 20))
    assert one[:10] != one[10:20]
    assert DataOrder(3, 10).take(7, 9).tolist() == one[7:16]
    assert DataOrder(4, 10).take(0, 30).tolist() != one
    assert derive(1, "a") != derive("1", "a")
