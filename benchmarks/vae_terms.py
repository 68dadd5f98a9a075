"""The two terms of the VAE's bound while it trains: reconstruction and KL, in nats per picture.

    python benchmarks/vae_terms.py --data mnist.npz [--minutes 2] [--likelihood bernoulli] [--out benchmarks/results]

Trains one ``vae``, and writes vae_terms.json and vae_terms.svg: the logged terms on training pictures, and the final
ELBO and importance-weighted bound on test pictures.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from chart import line_chart

import reverie
from reverie.evaluate import evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--likelihood", default="bernoulli")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--limit", type=int, default=200, help="test pictures for the final bounds")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    test = reverie.open_dataset(arguments.data).split("test")
    with tempfile.TemporaryDirectory() as folder:
        settings = {"model": {"likelihood": arguments.likelihood}, "train": {"minutes": arguments.minutes}}
        run = reverie.train("vae", arguments.data, Path(folder) / "run", settings=settings, quiet=True)
        logged = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    names = ("recon", "kl", "loss")
    terms = {name: [float(line[name]) for line in logged] for name in names}
    steps = [line["step"] for line in logged]
    figures = evaluate(run.model, test, ["likelihood", "latent"], samples=arguments.samples, limit=arguments.limit)
    result = {
        "data": Path(arguments.data).name,
        "likelihood": arguments.likelihood,
        "minutes": arguments.minutes,
        "step": steps,
        **terms,
        "test": figures["likelihood"],
        "active_units": figures["latent"]["active_units"],
        "protocol": figures["protocol"],
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "vae_terms.json").write_text(json.dumps(result, indent=2) + "\n")
    title = f"Terms of the VAE's bound on {result['data']}, nats per picture"
    chart = line_chart(title, "step", "nats", steps, terms, [steps[0], steps[len(steps) // 2], steps[-1]])
    (arguments.out / "vae_terms.svg").write_text(chart)
    print(json.dumps({key: result[key] for key in ("data", "test", "active_units", "protocol")}))


if __name__ == "__main__":
    main()
