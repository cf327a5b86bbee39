# make demo    start tlsgate with a sample backend: nothing to configure
# make install tlsgate with every extra in .venv: then .venv/bin/tlsgate run --config FILE
# make test    everything, with real mail servers where apt can install them
# make lint types
# make bench   tlsgate beside nginx, Dovecot, HAProxy and stunnel; PYTHON=/usr/bin/python3 names the interpreter
# make docs    write docs/configuration.md from the config's schema again
# make audit   known vulnerabilities of what is pinned, by the package index's advisories: needs the net
# make sbom    build/sbom.cdx.json, what the image is made of (CycloneDX)
# make fuzz    each fuzz target for FUZZ_SECONDS, 60 without it; -j2 two at once
# make pins    write requirements/*.txt from pyproject.toml again; UPGRADE=1 takes newer versions

PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PINS := requirements/run.txt requirements/build.txt
COMPILE = $(TOOLS)/audit/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url \
	$(if $(UPGRADE),--upgrade)

# An environment for each interpreter, so that PYTHON= always means something.
BENCH := build/bench
BENCH_VENV = $(BENCH)/venv$(subst /,-,$(shell command -v $(PYTHON)))

FUZZ_SECONDS ?= 60
FUZZING = $(patsubst fuzz/targets/%.py,fuzz-%,$(filter-out %/__init__.py,$(wildcard fuzz/targets/*.py)))

# Environments of their own for tools that want other versions than we do.
TOOLS := build/tools
AUDITED := $(foreach file,run all build dev deploy,--requirement requirements/$(file).txt)

.PHONY: demo install test lint types format docs bench fuzz $(FUZZING) audit sbom pins clean

demo: $(VENV)/.run
	@$(BIN)/python -m compileall -q tlsgate
	$(BIN)/tlsgate demo

install: $(VENV)/.run
	$(PIP) install --require-hashes -r requirements/all.txt
	@$(BIN)/python -m compileall -q tlsgate

test: $(VENV)/.dev
	@.ci/install-peers
	@$(MAKE) --no-print-directory $(TOOLS)/sslyze/.made || { echo "no sslyze: its tests will skip" >&2; [ "$$CI" != true ]; }
	@.ci/test $(BIN)

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(VENV)/.dev
	$(BIN)/mypy

docs: $(VENV)/.run
	@mkdir -p build
	$(BIN)/python -m tlsgate.config.reference >build/configuration.md
	mv build/configuration.md docs/configuration.md

bench:
	@bench/install-peers
	@$(MAKE) --no-print-directory VENV=$(BENCH_VENV) $(BENCH_VENV)/.run $(BENCH)/client $(BENCH)/backend
	@$(BENCH_VENV)/bin/python -m compileall -q tlsgate
	$(BENCH_VENV)/bin/python bench/compare.py $(BENCH_OPTIONS)

$(BENCH)/clock.so: bench/load/clock.c
	@mkdir -p $(@D)
	$(CC) -O2 -Wall -Wextra -shared -fPIC -o $@ $< -ldl

$(BENCH)/%: bench/load/%.c
	@mkdir -p $(@D)
	$(CC) -O2 -Wall -Wextra -o $@ $< -lssl -lcrypto

audit: $(TOOLS)/audit/.made
	$(TOOLS)/audit/bin/pip-audit --strict --disable-pip --require-hashes $(AUDITED)

sbom: $(TOOLS)/audit/.made
	$(TOOLS)/audit/bin/cyclonedx-py requirements requirements/all.txt --pyproject pyproject.toml \
		--mc-type application --output-reproducible --output-file build/sbom.cdx.json

TOOL_INSTALL = $(@D)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --only-binary :all:

$(TOOLS)/audit/.made: requirements/audit.txt
	@.ci/make-venv $(PYTHON) $(@D)
	@$(TOOL_INSTALL) -r requirements/audit.txt
	@touch $@

# It comes without a wheel; what builds it is pinned too.
$(TOOLS)/sslyze/.made: requirements/setuptools.txt requirements/sslyze.txt
	@.ci/make-venv $(PYTHON) $(@D)
	@$(TOOL_INSTALL) -r requirements/setuptools.txt
	@$(TOOL_INSTALL) --no-binary sslyze --no-build-isolation -r requirements/sslyze.txt
	@touch $@

fuzz: $(FUZZING)

$(FUZZING): fuzz-%: $(VENV)/.fuzz
	$(BIN)/python -m fuzz.run $* --seconds $(FUZZ_SECONDS)

# dev.txt first: the others take its versions, so that they can be installed into one environment.
pins: $(TOOLS)/audit/.made
	$(COMPILE) pyproject.toml --group dev --group build -o requirements/dev.txt
	$(COMPILE) pyproject.toml --constraints requirements/dev.txt -o requirements/run.txt
	$(COMPILE) pyproject.toml --extra all --constraints requirements/dev.txt -o requirements/all.txt
	$(COMPILE) --group build --constraints requirements/dev.txt -o requirements/build.txt
	$(COMPILE) --group fuzz --constraints requirements/dev.txt -o requirements/fuzz.txt
	$(COMPILE) --no-deps requirements/deploy.in --constraints requirements/dev.txt -o requirements/deploy.txt
	$(foreach file,setuptools sslyze audit,$(COMPILE) --python-version 3.11 requirements/$(file).in -o requirements/$(file).txt &&) true

clean:
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis build

$(VENV)/.made:
	@.ci/make-venv $(PYTHON) $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.made $(PINS) pyproject.toml
	$(PIP) install --require-hashes -r requirements/run.txt -r requirements/build.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt requirements/deploy.txt
	$(PIP) install --require-hashes -r requirements/dev.txt
	$(PIP) install --no-deps --require-hashes -r requirements/deploy.txt
	@touch $@

$(VENV)/.fuzz: $(VENV)/.dev requirements/fuzz.txt
	$(PIP) install --require-hashes -r requirements/fuzz.txt
	@touch $@
