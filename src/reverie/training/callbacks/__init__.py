"""What a training does beside its steps, a job a file: `reverie.train` puts them together. See `Trainer`."""

from reverie.training.callbacks.checkpoints import Checkpoints
from reverie.training.callbacks.folder import Folder
from reverie.training.callbacks.mixture import Mixture
from reverie.training.callbacks.previews import Previews
from reverie.training.callbacks.quality import Quality
from reverie.training.callbacks.recording import Recording
from reverie.training.callbacks.report import Report

__all__ = ["Checkpoints", "Folder", "Mixture", "Previews", "Quality", "Recording", "Report"]
