# Two commands: `make demo` trains PPO on CartPole with 16 seeds, `make test` checks everything. Both need Python 3.11+.

PYTHON ?= python3
RUN = .venv/bin/python

.PHONY: demo test test-slow coverage lint docs

demo: .venv/installed
	$(RUN) scripts/train.py ppo-cartpole --seeds 16

test: .venv/installed lint
	$(RUN) -m pytest -n 2 --dist loadgroup

test-slow: .venv/installed
	RESEARCH_TESTS_COMPILE=as-users-do $(RUN) -m pytest -m slow --durations=0 -rs

# The lines of research/ that `make test` does not reach, its own processes included.
coverage: .venv/installed
	$(RUN) -m pytest -n 2 --dist loadgroup --cov

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# The pages, into build/site. Nothing is fetched. Not --quiet: it would silence the warnings that --strict counts.
docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 JAX_PLATFORMS=cpu $(RUN) -m mkdocs build --strict
	@echo "build/site/index.html; to search in it: $(RUN) -m http.server --directory build/site"

# The environment, from the versions that were tested.
.venv: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
