"""The codes of a set of pictures, and how they are saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from reverie.capabilities import Encodes
from reverie.errors import ReverieError
from reverie.files import replacing
from reverie.inference.pictures import Data, pictures_of, read
from reverie.inference.unsupported import unsupported


@dataclass(frozen=True)
class Embedding:
    """Codes with the names and labels of their pictures."""

    codes: NDArray[np.float32]  # (N, d): the point, or the mean of the Gaussian, that the encoder gives
    logvar: NDArray[np.float32] | None  # (N, d): log variance of that Gaussian; None for a point
    names: Sequence[str]  # (N,)
    labels: NDArray[np.int64] | None  # (N,), in the numbering of the data
    classes: Sequence[str] = ()  # names of the classes in the order of their numbers

    @property
    def kl(self) -> NDArray[np.float64] | None:
        """KL(q(z_j|x) || N(0, 1)) in nats for each dimension (d,), mean over pictures; None where codes are points.

        Kingma and Welling 2014, appendix B.
        """
        if self.logvar is None:
            return None
        mean, logvar = self.codes.astype(np.float64), self.logvar.astype(np.float64)
        each = 0.5 * (mean**2 + np.expm1(logvar) - logvar)
        return np.asarray(each.mean(0))

    def spread(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation (d,) of the aggregate posterior q(z), the mean of q(z|x) over the pictures."""
        codes = self.codes.astype(np.float64)
        within = 0.0 if self.logvar is None else np.exp(self.logvar.astype(np.float64)).mean(0)
        return codes.mean(0), np.sqrt(codes.var(0) + within)

    def save(self, path: Path | str) -> None:
        """Write ``.npz`` (numpy.load reads it without pickle) or ``.parquet``; the file appears whole or not at all."""
        path = Path(path)
        writers: dict[str, Callable[[BinaryIO], None]] = {".npz": self._npz, ".parquet": self._parquet}
        if path.suffix not in writers:
            raise ReverieError(f"Embeddings are saved as .npz or .parquet, not '{path.name}'.")
        with replacing(path) as temporary, temporary.open("wb") as file:
            writers[path.suffix](file)

    def _npz(self, file: BinaryIO) -> None:
        arrays: dict[str, NDArray[np.generic]] = {"codes": self.codes, "names": np.asarray(self.names, np.str_)}
        if self.logvar is not None:
            arrays["logvar"] = self.logvar
        if self.labels is not None:
            arrays["labels"] = self.labels
            arrays["classes"] = np.asarray(self.classes, np.str_)
        np.savez(file, allow_pickle=False, **arrays)

    def _parquet(self, file: BinaryIO) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as missing:
            raise ReverieError(
                "Parquet needs pyarrow: pip install 'reverie[parquet]', or save as .npz instead."
            ) from missing

        def vectors(array: NDArray[np.float32]) -> pa.FixedSizeListArray:
            return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])

        # Python accepts file names that are not valid UTF-8, Parquet does not.
        columns = {"name": pa.array([n.encode(errors="replace").decode() for n in self.names], pa.string())}
        if self.labels is not None:
            columns["label"] = pa.array(self.labels)
            if self.classes:
                columns["class"] = pa.array([self.classes[i] for i in self.labels], pa.string())
        columns["code"] = vectors(self.codes)
        if self.logvar is not None:
            columns["logvar"] = vectors(self.logvar)
        pq.write_table(pa.table(columns), file)


def embed(model: object, dataset: Data, batch: int = 256, indices: NDArray[np.int64] | None = None) -> Embedding:
    """The codes of the pictures ``indices`` of ``dataset`` (default: all), in that order."""
    if not isinstance(model, Encodes):
        raise unsupported(model, "embed", "encoder", Encodes)
    dataset = pictures_of(model, dataset)
    chosen = np.arange(len(dataset)) if indices is None else indices
    if len(chosen) == 0:
        raise ReverieError("There are no pictures to embed.")
    # Allocated once: concatenating at the end would need twice the memory.
    means, logvars, done = np.empty((0, 0), np.float32), None, 0
    for part in read(model, dataset, batch, chosen):
        with torch.no_grad():
            code = model.encode(part.images, part.labels)
        mean = code.mean.flatten(1)
        if not done:
            means = np.empty((len(chosen), mean.shape[1]), np.float32)
            logvars = None if code.logvar is None else np.empty_like(means)
        rows = slice(done, done + len(mean))
        means[rows] = mean.float().cpu().numpy()
        if logvars is not None and code.logvar is not None:
            logvars[rows] = code.logvar.flatten(1).float().cpu().numpy()
        done = rows.stop
    names = dataset.names  # once: a set may rebuild the list at each access
    return Embedding(
        means,
        logvars,
        names if indices is None else [names[i] for i in chosen],
        None if dataset.labels is None else dataset.labels[chosen],
        dataset.image_spec.classes,
    )
