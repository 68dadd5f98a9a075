"""Training: the trainer, the callbacks that make a run of it, and the recipe that puts them together."""

from reverie.training.recipe import train
from reverie.training.trainer import Trainer

__all__ = ["Trainer", "train"]
