"""Training: `Trainer`, the callbacks that write a run folder, and `train`, which combines them."""

from reverie.training.recipe import train
from reverie.training.trainer import Trainer

__all__ = ["Trainer", "train"]
