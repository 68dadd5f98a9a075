# The two commands of the README. Each makes .venv and installs what it needs, pinned by constraints.txt.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/pip --disable-pip-version-check -q

.PHONY: demo test lint docs clean

$(VENV)/.core: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) install -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/.docs: $(VENV)/.core
	$(PIP) install -c constraints.txt -e '.[docs]'
	touch $@

demo: $(VENV)/.core  ## Train a VAE on cartoon faces for about two minutes, then look at runs/demo/report.html.
	rm -rf runs/demo
	$(VENV)/bin/reverie train vae --data faces:32 --minutes 2 --lr 0.002 --out runs/demo \
		--set model.latent=12 model.beta=10 model.warmup=0.1
	$(VENV)/bin/reverie sample runs/demo --prior mixture --out runs/demo/samples.png
	$(VENV)/bin/reverie reconstruct runs/demo faces:32 --split test --out runs/demo/reconstructions.png

test: $(VENV)/.dev  ## The whole test suite.
	$(VENV)/bin/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.dev  ## What CI checks before the tests.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: $(VENV)/.docs  ## The documentation as a site, in site/.
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) runs site
