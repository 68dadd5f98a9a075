"""Prints the lowest version that pyproject.toml promises of each package, as constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
for requirement in sorted({*project["dependencies"], *extras["dev"], *extras["hub"]}):
    if not re.fullmatch(r"[\w-]+>=[\d.]+", requirement):
        raise SystemExit(f"{requirement!r} has no lowest version; write NAME>=VERSION.")
    print(requirement.replace(">=", "=="))
