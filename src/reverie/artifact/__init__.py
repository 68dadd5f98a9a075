"""The artifact: a folder with config.json and model.safetensors that describes a trained model completely.

Loading is strict: errors name the wrong field, older formats are migrated step by step, and nothing is executed.
"""

from reverie.artifact.build import build_model
from reverie.artifact.config import CONFIG, FORMAT, check_settings, describe, read_config, write_config
from reverie.artifact.weights import WEIGHTS, Loaded, load, write_weights

__all__ = [
    "CONFIG",
    "FORMAT",
    "WEIGHTS",
    "Loaded",
    "build_model",
    "check_settings",
    "describe",
    "load",
    "read_config",
    "write_config",
    "write_weights",
]
