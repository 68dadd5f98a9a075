"""Transfer learning: a classifier from an encoder trained without labels, and few labels.

- ``frozen``: logistic regression on codes; the encoder is frozen.
- ``tuned``: encoder and head are fine-tuned together, from the frozen head (Kumar et al. 2022, "Fine-tuning can distort
  pretrained features": a randomly initialised head would distort the codes).
- ``scratch``: the same architecture with fresh weights and a head of zeros, trained like ``tuned``: the baseline
  without pretraining.

The code of a picture is the encoder's mean. The exported classifier is JSON and safetensors, without the decoder.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from reverie.capabilities import Conditions, Encodes
from reverie.config import check_range
from reverie.data.image_io import to_tensor
from reverie.engine.model import ImageSpec, Model
from reverie.engine.randomness import DataOrder, derive
from reverie.errors import ReverieError, either, nearest
from reverie.files import encodable, replacing, savable, unreadable
from reverie.inference.fit_network import fit
from reverie.inference.labels import classes_of, label_number
from reverie.inference.pictures import Data, Pictures, device_of, pictures_of
from reverie.registry import able

How = Literal["frozen", "tuned", "scratch"]
HOW = ("frozen", "tuned", "scratch")

FORMAT = 1
CONFIG, WEIGHTS = "classifier.json", "classifier.safetensors"
COUNTS = (10, 100, 1000, 10000)  # labels of a `curve`
SEEN = 256  # batch size without training
BATCH, STEPS, RATE = 64, 1000, 1e-3  # of training a network; RATE is Adam's largest
SHRINK = 1.0  # weight of |W|^2 / 2 against the sum of cross entropies, codes having unit variance
ROUNDS = 200  # of LBFGS at most


class Exported(nn.Module):
    """An encoder with a linear head: pictures (N, C, H, W) in [-1, 1] -> logits (N, classes)."""

    def __init__(self, body: Encodes, head: nn.Linear, classes: Sequence[str]) -> None:
        super().__init__()
        self.body: Any = body  # a network too, see `_encoder`
        self.head = head
        self.classes = tuple(classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(_code(self.body, images))
        return logits

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the pictures it takes."""
        found: tuple[int, int, int] = self.body.image_spec.shape
        return found

    def save(self, folder: Path | str) -> None:
        """Write classifier.json and classifier.safetensors to ``folder``; `load_classifier` reads them.

        Raises ReverieError for an encoder of an unregistered model, which could not be built again.
        """
        config = {"format": FORMAT, "classes": list(self.classes)} | _described(self.body)
        folder = Path(folder)
        with replacing(folder / WEIGHTS) as temporary, encodable(temporary) as named:
            save_file(savable(self.state_dict()), named)
        with replacing(folder / CONFIG) as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Transfer:
    """A classifier and its accuracy."""

    classifier: Exported  # in eval mode
    how: How
    labels: int  # number of labelled pictures it was trained on
    tested: int
    accuracy: float  # on the test pictures, from 0 to 1


def transfer(
    model: object,
    training: Data,
    test: Data,
    *,
    labels: int = 100,
    how: How = "frozen",
    steps: int = STEPS,
    seed: int = 0,
) -> Transfer:
    """A classifier from ``labels`` labelled pictures of ``training`` and the model's encoder, measured on ``test``.

    The pictures are sampled by ``seed``, balanced over classes (see `stratified`); a larger number of labels includes
    those of a smaller one. ``tuned`` and ``scratch`` train for ``steps`` batches of `BATCH`. ``model`` is unchanged.
    Classes of the two sets are matched by name. Raises ReverieError for a model without an encoder, one whose encoder
    is conditioned on the class, sets without labels, and fewer labels than classes.
    """
    check_transfers(model)
    training, test = pictures_of(model, training), pictures_of(model, test)
    body = _encoder(model, training.image_spec.shape)
    if how not in HOW:
        raise ReverieError(f"A classifier cannot be made '{how}'{nearest(how, HOW)}")
    check_range("The number of steps", steps, low=1)
    classes = training.image_spec.classes
    known, wanted = _numbers(training, classes), _numbers(test, classes)
    if len(test) == 0:
        raise ReverieError("There are no test pictures to measure accuracy on.")
    rows = stratified(known, labels, seed)
    images, numbers = to_tensor(training.batch(rows)), torch.from_numpy(known[rows])
    if how == "scratch":
        body = _built(_described(body), derive(seed, "transfer"))
    codes = _codes(body, images, device_of(model))
    if how == "scratch":
        head = _head(codes.new_zeros(len(classes), codes.shape[1]), codes.new_zeros(len(classes)))
    else:
        head = _regression(codes, numbers.to(codes.device), len(classes))
    found = Exported(body, head, classes).to(codes.device).eval()
    if how != "frozen":
        _train(found, images, numbers, steps, seed)
    return Transfer(found.requires_grad_(False), how, len(rows), len(test), _accuracy(found, test, wanted))


def check_transfers(model: object) -> None:
    """Raise ReverieError where ``model`` cannot become a classifier, naming the models that can."""
    if isinstance(model, Encodes) and isinstance(model, nn.Module) and not classes_of(model):
        return
    name, others = type(model).__name__, either(able(Encodes, never=(Conditions,)))
    if classes_of(model) and isinstance(model, Encodes):
        raise ReverieError(
            f"The encoder of {name} is told the class that a classifier is to find; take a model without labels: "
            f"{others}."
        )
    raise ReverieError(f"{name} has no encoder that a classifier could be made of; {others} has one.")


def curve(
    model: object,
    training: Data,
    test: Data,
    *,
    counts: Sequence[int] = COUNTS,
    how: How = "frozen",
    steps: int = STEPS,
    seed: int = 0,
) -> list[Transfer]:
    """`transfer` with each number of labels of ``counts``, in that order."""
    check_transfers(model)
    training, test = pictures_of(model, training), pictures_of(model, test)  # once
    return [transfer(model, training, test, labels=count, how=how, steps=steps, seed=seed) for count in counts]


def stratified(labels: NDArray[np.int64], count: int, seed: int = 0) -> NDArray[np.int64]:
    """Indices (count,) of ``labels`` (N,), sampled by ``seed``: equally many of each class, up to one.

    Where a class has too few, the others fill up. The first k indices are those of ``count`` k.
    """
    present = np.unique(labels)
    name = f"The number of labelled pictures, of {len(present)} classes in {len(labels)} pictures,"
    check_range(name, count, low=len(present), high=len(labels))
    order = np.random.default_rng(derive(seed, "transfer")).permutation(len(labels))
    place = np.empty(len(labels), np.int64)  # of a picture among those of its class
    for number in present:
        members = labels[order] == number
        place[members] = np.arange(members.sum())
    chosen: NDArray[np.int64] = order[np.argsort(place, kind="stable")][:count]
    return chosen


def load_classifier(folder: Path | str, device: torch.device | str = "cpu") -> Exported:
    """The classifier in a folder that `Exported.save` wrote, in eval mode; ReverieError for any invalid file."""
    folder = Path(folder)
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config["format"] != FORMAT:
            raise ReverieError(f"{folder / CONFIG} has the format {config['format']!r}; this reverie reads {FORMAT}.")
        with encodable(folder / WEIGHTS) as named:
            tensors = load_file(named)
        classes = [str(name) for name in config["classes"]]
        head = _head(tensors["head.weight"], tensors["head.bias"])
        if len(classes) != head.out_features:
            raise ValueError(f"{len(classes)} classes and a head for {head.out_features}")
        found = Exported(_built(config), head, classes)
        found.load_state_dict(tensors)
    except PermissionError as error:
        raise unreadable(folder) from error
    except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError, SafetensorError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        line = (why.splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ReverieError(
            f"{folder} holds no classifier that can be read ({line[:200]}); give a folder that `reverie transfer` made."
        ) from error
    return found.to(device).eval().requires_grad_(False)


# Parts


def _encoder(model: object, shape: tuple[int, int, int]) -> Encodes:
    """A copy of a model with only the children that encoding pictures (C, H, W) calls; its weights are trainable."""
    check_transfers(model)
    body: Any = copy.deepcopy(model)
    body.eval()
    used: set[nn.Module] = set()
    hooks = [module.register_forward_hook(lambda called, *_: used.add(called)) for module in body.modules()]
    with torch.no_grad():
        body.encode(torch.zeros(1, *shape, device=device_of(body)))
    for hook in hooks:
        hook.remove()
    for name, child in list(body.named_children()):
        if used.isdisjoint(child.modules()):
            delattr(body, name)
    body.requires_grad_(True)
    found: Encodes = body
    return found


def _described(body: object) -> dict[str, Any]:
    """What is needed to build this network again: a registered name, settings, and the data's `ImageSpec`."""
    from reverie import registry

    name = registry.name_of(type(body)) if isinstance(body, Model) else None
    if name is None or not isinstance(body, Model):
        raise ReverieError(f"{type(body).__name__} is no registered model, so its network cannot be built again.")
    return {"model": name, "settings": asdict(body.config), "facts": asdict(body.image_spec)}  # settings beat presets


def _built(described: dict[str, Any], seed: int = 0) -> Encodes:
    """The encoder of a network that `_described` describes, with fresh weights."""
    from reverie.artifact import build_model

    if not isinstance(described["model"], str):
        raise TypeError("the model has no name")
    image_spec = described["facts"]
    shape = (int(image_spec["channels"]), int(image_spec["height"]), int(image_spec["width"]))
    model = build_model(
        described["model"], described["settings"], ImageSpec(*shape, tuple(image_spec["classes"])), seed
    )
    return _encoder(model, shape)


def _numbers(dataset: Pictures, classes: Sequence[str]) -> NDArray[np.int64]:
    """(N,) labels of a set in the numbering of ``classes``."""
    if dataset.labels is None or len(classes) < 2:
        raise ReverieError("A classifier is made from and measured on pictures of two classes or more, with labels.")
    table = np.zeros(len(dataset.image_spec.classes), np.int64)
    present = np.unique(dataset.labels)
    table[present] = [label_number(dataset.image_spec.classes[number], classes) for number in present]
    return table[dataset.labels]


def _code(body: Encodes, images: Tensor) -> Tensor:
    """(N, d)."""
    return body.encode(images).mean.flatten(1).float()


@torch.no_grad()
def _codes(body: Any, images: Tensor, device: torch.device) -> Tensor:
    """The codes (N, d) of pictures, on the device; moves the network there."""
    body.to(device)
    codes = torch.cat([_code(body, part.to(device)) for part in images.split(SEEN)])
    if not codes.isfinite().all():
        raise ReverieError("Some codes are not finite numbers; the encoder has diverged.")
    return codes


def _head(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A linear layer with this weight (classes, d) and bias (classes,)."""
    classes, size = weight.shape
    head = torch.nn.utils.skip_init(nn.Linear, size, classes)
    head.load_state_dict({"weight": weight, "bias": bias})
    found: nn.Linear = head
    return found


def _regression(codes: Tensor, numbers: Tensor, classes: int) -> nn.Linear:
    """Logistic regression on codes (N, d), to convergence; the returned head takes unscaled codes.

    The loss is the sum of cross entropies + `SHRINK` |W|^2 / 2 on codes scaled to unit variance.
    """
    codes = codes.double()
    center, scale = codes.mean(0), codes.std(0, correction=0)
    scale = scale.clamp_min(max(1e-3 * float(scale.max()), 1e-6))  # a dead dimension must not be scaled up
    white = (codes - center) / scale
    weight = white.new_zeros(classes, codes.shape[1], requires_grad=True)
    bias = white.new_zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=ROUNDS, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(white @ weight.T + bias, numbers) + SHRINK / 2 * weight.square().sum() / len(codes)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    with torch.no_grad():
        return _head((weight / scale).float(), (bias - weight @ (center / scale)).float())


def _train(found: Exported, images: Tensor, numbers: Tensor, steps: int, seed: int) -> None:
    device, order = device_of(found), DataOrder(derive(seed, "transfer", "order"), len(images))

    def loss(indices: NDArray[np.int64]) -> Tensor:
        rows = torch.from_numpy(indices)
        return F.cross_entropy(found(images[rows].to(device)), numbers[rows].to(device))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "transfer", "layers"))  # dropout
        optimizer = torch.optim.AdamW(found.train().parameters(), lr=RATE, weight_decay=1e-2)
        fit(optimizer, loss, order, steps=steps, batch=min(BATCH, len(images)))
        found.eval()


@torch.no_grad()
def _accuracy(found: Exported, test: Pictures, wanted: NDArray[np.int64]) -> float:
    right = 0
    for start in range(0, len(test), SEEN):
        part = np.arange(start, min(start + SEEN, len(test)))
        predicted = found(to_tensor(test.batch(part)).to(device_of(found))).argmax(1)
        right += int((predicted.cpu().numpy() == wanted[part]).sum())
    return right / len(test)
