"""Data sets of pictures: `open_dataset`. Importing this imports neither torch nor Pillow nor scikit-learn."""

from reverie.data.augment import augment
from reverie.data.dataset import Dataset
from reverie.data.image_io import contact_sheet, save_grid, to_tensor, to_uint8
from reverie.data.open import Data, open_dataset
from reverie.data.options import DataOptions
from reverie.data.pairs import Pairs

__all__ = [
    "Data",
    "DataOptions",
    "Dataset",
    "Pairs",
    "augment",
    "contact_sheet",
    "open_dataset",
    "save_grid",
    "to_tensor",
    "to_uint8",
]
