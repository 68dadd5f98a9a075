"""Charts of the latent space of a run: the KL of each dimension, and a map of codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from reverie.capabilities import Encodes
from reverie.data import Dataset
from reverie.engine.model import Model
from reverie.inference.embed import embed
from reverie.inference.latent_map import latent_map
from reverie.inference.pictures import sample_indices
from reverie.losses.divergence import ACTIVE_KL
from reverie.reporting.charts import Bar, Chart, Group, bars, colour_of, scatter
from reverie.reporting.formatting import number
from reverie.reporting.logged import drawable

MAPPED = 2000  # pictures on the map of the latent space
ENOUGH = 500  # test pictures needed for a map; with fewer, training pictures are shown


def kl_bars(metrics: list[dict[str, Any]]) -> Chart | None:
    """The last logged KL divergence of every latent dimension, the largest first; None where none was logged."""
    logged = [line["kl_dims"] for line in metrics if isinstance(line.get("kl_dims"), list)]
    kl = {i: float(value) for i, value in enumerate(logged[-1]) if drawable(value)} if logged else {}
    if not kl:
        return None
    active, count = sum(value > ACTIVE_KL for value in kl.values()), len(kl)
    values = [
        Bar(kl[i], f"dimension {i}: {number(kl[i])} nats", idle=kl[i] <= ACTIVE_KL)
        for i in sorted(kl, key=kl.__getitem__, reverse=True)
    ]
    described = f"Bar chart of the KL divergence of {count} latent dimensions, {active} of them active"
    note = (
        f"dimensions are active, that is, carry more than {ACTIVE_KL:g} nats of KL(q(z|x) ‖ p(z)); together they carry "
        f"{number(sum(kl.values()))} nats per picture."
    )
    svg = bars(values, "latent dimensions, sorted", described, ACTIVE_KL)
    return Chart("KL per dimension", svg, value=f"{active} of {count}", note=note)


def code_map(model: Model, dataset: Dataset) -> Chart | None:
    """Codes of pictures in two dimensions, coloured by class where there are classes; None where there are no codes."""
    if not isinstance(model, Encodes):
        return None
    split, word = dataset.split("test"), "the test split"
    if len(split) < ENOUGH:
        split, word = dataset.split("train"), "the training split"
    if len(split) == 0:
        return None
    count = min(MAPPED, len(split))
    found = embed(model, split, indices=sample_indices(split, count))
    places, spread = latent_map(found.codes), float(found.codes.astype(np.float64).var(0).sum())
    inside = np.asarray(np.isfinite(places).all(1), np.bool_)
    if not inside.any():
        return None
    size = found.codes.shape[1]
    names = ("z₁", "z₂")
    how = f"The {'latent space itself' if size == 2 else 'one latent dimension'}"
    if size > 2:
        shares = places.astype(np.float64).var(0) / spread if spread > 0 else np.zeros(2)
        names = (f"first component, {shares[0]:.0%} of variance", f"second component, {shares[1]:.0%}")
        how = f"First two of {size} principal components, which hold {shares.sum():.0%} of the variance"
    labels = found.labels if found.classes else None
    groups = [Group("pictures", inside, "var(--accent)")]
    if labels is not None:
        each = ((name, np.logical_and(inside, labels == k), k) for k, name in enumerate(found.classes))
        groups = [Group(name, member, colour_of(k, len(found.classes))) for name, member, k in each if member.any()]
    coloured = ", coloured by class" if labels is not None else ""
    note = f"{how}: {count:,} pictures of {word}{coloured}."
    return Chart("Map", scatter(places, groups, names), note=note, legend=groups if len(groups) > 1 else ())
