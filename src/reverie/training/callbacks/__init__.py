"""The callbacks that `reverie.train` gives to `Trainer`, one in each file."""

from reverie.training.callbacks.checkpoints import Checkpoints
from reverie.training.callbacks.folder import Folder
from reverie.training.callbacks.mixture import Mixture
from reverie.training.callbacks.previews import Previews
from reverie.training.callbacks.quality import Quality
from reverie.training.callbacks.recording import Recording
from reverie.training.callbacks.report import Report

__all__ = ["Checkpoints", "Folder", "Mixture", "Previews", "Quality", "Recording", "Report"]
