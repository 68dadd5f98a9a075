"""Training one model by several processes: `torchrun --nproc-per-node 2 -m reverie train ...`.

The loop divides each batch over ranks, sums gradients in each phase, and synchronises batch statistics. A run on two
ranks computes what one rank computes with two microbatches.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce as differentiable_all_reduce

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class World:
    """The process group; a single rank unless started by torchrun."""

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        self._made = False  # whether this object created the process group

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes files and prints messages."""
        return self.rank == 0

    def join(self, device: torch.device) -> None:
        """Initialise the process group: gloo on the CPU, nccl on CUDA."""
        if self.size > 1 and not dist.is_initialized():
            self._made = True
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")

    def leave(self) -> None:
        """Destroy the process group if this object created it."""
        if self._made and dist.is_initialized():
            self._made = False
            dist.destroy_process_group()

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Sum tensors over ranks, in place, by one all-reduce per dtype."""
        if self.size == 1 or not tensors:
            return
        for dtype in {t.dtype for t in tensors}:
            mine = [t for t in tensors if t.dtype == dtype]
            flat = torch.cat([t.reshape(-1) for t in mine])
            dist.all_reduce(flat)
            start = 0
            for tensor in mine:
                tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
                start += tensor.numel()

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is true on any rank."""
        return self.raised([flag], device)[0]

    def raised(self, flags: Sequence[bool], device: torch.device) -> list[bool]:
        """For each flag, whether it is true on any rank; by one all-reduce."""
        if self.size == 1:
            return list(flags)
        raised = torch.tensor([float(flag) for flag in flags], device=device)
        dist.all_reduce(raised)
        return [count > 0 for count in raised.tolist()]

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all ranks, in order; shapes must be equal."""
        if self.size == 1:
            return [tensor]
        everyone = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(everyone, tensor.contiguous())
        return everyone

    def share(self, text: str, device: torch.device) -> str:
        """Broadcast a text from rank 0; returns it on every rank."""
        if self.size == 1:
            return text
        content = torch.tensor(list(text.encode(errors="surrogateescape")), dtype=torch.uint8, device=device)
        length = torch.tensor([len(content)], device=device)
        dist.broadcast(length, 0)
        if not self.first:
            content = torch.empty(int(length.item()), dtype=torch.uint8, device=device)
        dist.broadcast(content, 0)
        return bytes(content.tolist()).decode(errors="surrogateescape")

    def barrier(self) -> None:
        """Wait for every rank."""
        if self.size > 1:
            dist.barrier()


class SyncBatchNorm(nn.Module):
    """Batch normalisation over the batches of all ranks, on any device (PyTorch's own needs CUDA).

    Wraps an existing layer and uses its parameters and buffers; the names in the state dict do not change.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) -> None:
        super().__init__()
        self.eps, self.momentum, self.num_features = norm.eps, norm.momentum, norm.num_features
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean: Tensor | None
        self.running_var: Tensor | None
        self.num_batches_tracked: Tensor | None
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (N, C, ...) per channel."""
        if not self.training and self.running_mean is not None:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        dims = [d for d in range(x.dim()) if d != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        count = x.new_full((1,), x.numel() / x.shape[1])
        total, everyone = differentiable_all_reduce(torch.cat([x.sum(dims), count])).split([self.num_features, 1])
        mean = total / everyone
        centred = x - mean.view(shape)
        var = differentiable_all_reduce(centred.square().sum(dims)) / everyone
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked += 1
                rate = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean.detach(), rate)
                self.running_var.lerp_(var.detach() * everyone / (everyone - 1), rate)
        out: Tensor = centred * (var + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out


def synchronise_batch_statistics(module: nn.Module) -> None:
    """Replace, in place, every batch normalisation in the module by `SyncBatchNorm`."""
    for name, child in module.named_children():
        if isinstance(child, _BATCH_NORMS):
            setattr(module, name, SyncBatchNorm(child).train(child.training))
        else:
            synchronise_batch_statistics(child)


def total(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all ranks; the tensor itself if there is one rank. Every rank must call it."""
    if dist.is_available() and dist.is_initialized():
        tensor = tensor.clone()
        dist.all_reduce(tensor)
    return tensor
