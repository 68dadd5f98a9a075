"""Encoders and decoders by name, for autoencoders of every kind.

All take pictures or latents of any batch size, use no random numbers, and treat each row of the batch alone.
"""

from __future__ import annotations

from torch import nn

from reverie.networks.conv import ConvDecoder, ConvEncoder
from reverie.networks.mlp import MLPDecoder, MLPEncoder
from reverie.networks.resnet import ResNetDecoder, ResNetEncoder

NETWORKS = ("mlp", "conv", "resnet")
UNITS = 16  # hidden units of an mlp per unit of width, so that a width means a similar size for every network


def encoder(network: str, shape: tuple[int, int, int], out: int, width: int, depth: int) -> nn.Module:
    """Pictures (N, *shape) -> (N, out); ``width`` channels in the finest stage, ``depth`` layers or blocks a stage."""
    if network == "mlp":
        return MLPEncoder(shape, out, UNITS * width, depth)
    kind = {"conv": ConvEncoder, "resnet": ResNetEncoder}[network]
    return kind(shape, out, width, depth)


def decoder(network: str, latent: int, shape: tuple[int, int, int], width: int, depth: int) -> nn.Module:
    """Latents (N, latent) -> outputs (N, *shape), unbounded; the mirror image of `encoder`."""
    if network == "mlp":
        return MLPDecoder(latent, shape, UNITS * width, depth)
    kind = {"conv": ConvDecoder, "resnet": ResNetDecoder}[network]
    return kind(latent, shape, width, depth)
