# Everything that a developer runs. `make help` lists it.

COMPOSE := $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
TARGET := $(or $(CARGO_TARGET_DIR),target)
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
MSRV := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
# The programs of `make tools` come last in PATH, so a program of the same name that the system has is used instead.
export PATH := $(PATH):$(abspath $(TARGET))/tools/bin
ARCH := $(subst arm64,aarch64,$(shell uname -m))

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run the feed in one process; needs only Rust and a C compiler
	cargo run --release --locked -- demo

.PHONY: up
up: ## Build and start the whole stack: Redis, three replicas, nginx on ports 8080 and 8081
	$(COMPOSE) up -d --build

.PHONY: down
down: ## Stop the whole stack; the feed's history is kept
	$(COMPOSE) down

.PHONY: test
test: ## Run the tests; installs redis-server, nginx, Prometheus, curl and Python packages if they are missing
	tests/setup tests/run

.PHONY: soak
soak: ## Run the tests that take a minute each
	tests/setup tests/run --test soak

.PHONY: faults
faults: ## Run the fault matrix: each fault of the store, with a checker of what was polled, kept and sent
	tests/setup tests/run --test faults

.PHONY: attacks
attacks: ## Attack the release build, or the program BTCFEED_ATTACKED, and check and print the effect on other clients
	$(if $(BTCFEED_ATTACKED),,cargo build --release --locked)
	BTCFEED_ATTACKED=$(or $(BTCFEED_ATTACKED),$(abspath $(TARGET))/release/btcfeed) \
	tests/setup cargo test --locked --test soak -- hostile --nocapture --test-threads 1

.PHONY: dashboard-table
dashboard-table: ## Write the values of the dashboard and the alerts in several situations to docs/monitoring.md
	UPDATE_DOCS=1 tests/setup cargo test --locked --test soak -- dashboard

.PHONY: compat
compat: ## Run the newest release (or BTCFEED_OLD_BINARY) beside this version on one Redis
	tests/compat/run || [ $$? -eq 77 ]

.PHONY: browser
browser: ## Test the page and btcfeed.js in headless Chromium or Chrome; installs one if it is missing
	tests/setup --browser tests/run --test browser

.PHONY: sdk
sdk: ## Test the packages of both SDKs, and their clients while replicas fail (needs Node 20 and Python 3.10)
	cargo build --locked --bin btcfeed
	tests/setup sdk/run

.PHONY: packages
packages: ## Build the packages for npm and PyPI, in target/dist (needs npm, and `build` from PyPI)
	mkdir -p $(TARGET)/dist
	cp LICENSE sdk/js && cp LICENSE sdk/python
	cd sdk/js && npm pack --pack-destination $(abspath $(TARGET))/dist
	python3 -m build --outdir $(TARGET)/dist sdk/python
	rm sdk/js/LICENSE sdk/python/LICENSE

.PHONY: check
check: ## Start the whole stack, kill its leader, and check that no update is lost (needs Docker)
	tests/compose/check

.PHONY: containers
containers: ## Test the store with the Redis of BTCFEED_TEST_REDIS_IMAGES, by default redis:7-bookworm (needs Docker)
	tests/run --test containers

.PHONY: bench
bench: ## Measure what an update costs: each step alone, then all together (takes minutes)
	cargo bench --locked --bench hot
	cargo bench --locked --bench fanout
	cargo bench --locked --bench latency

.PHONY: scale
scale: ## Measure six replicas with 100,000 clients while one replica is killed (needs redis-server)
	cargo bench --locked --bench scale -- --replicas 6 --clients 100000 --interval 5s

.PHONY: features
features: ## Check every combination of features that makes sense, and the size of the SDK alone
	tests/features

.PHONY: bench-test
bench-test: ## Run each step of the bench `hot` once; `make lint` checks that all benches compile
	cargo test --locked --bench hot -- --test

.PHONY: guard
guard: ## Check that an update costs at most 25 % more than recorded, with a release build or the program BTCFEED_MEASURED
	$(if $(BTCFEED_MEASURED),,cargo build --release --locked)
	BTCFEED_MEASURED=$(or $(BTCFEED_MEASURED),$(abspath $(TARGET))/release/btcfeed) \
	cargo test --locked --bench fanout -- --guard

FUZZ_SECONDS ?= 60
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
# Sanitizers need nightly Rust, and find nothing in code without `unsafe`. An input has room for two of the longest
# messages of a client (4096 bytes).
FUZZ = cargo fuzz run --sanitizer none {} fuzz/corpus/{} fuzz/seeds/{} -- -max_total_time=$(FUZZ_SECONDS) -max_len=9000

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZ_SECONDS (default: 60), one on each core
	@cargo fuzz --version >/dev/null 2>&1 || \
	{ echo "fuzz: cargo-fuzz is missing; to install it: cargo install --locked cargo-fuzz" >&2; exit 1; }
	@c++ --version >/dev/null 2>&1 || \
	{ echo "fuzz: libFuzzer needs a C++ compiler; on Debian: apt-get install g++" >&2; exit 1; }
	cp Cargo.lock fuzz/
	mkdir -p $(addprefix fuzz/corpus/,$(FUZZ_TARGETS))
	cargo fuzz build --sanitizer none
	printf '%s\n' $(FUZZ_TARGETS) | xargs -P "$$(nproc)" -I {} $(FUZZ)

# `--all-targets` leaves out the tests that `cargo test` does not run by itself.
EVERY_TARGET := --lib --bins --examples --benches --test '*'
PYTHON := tests/compose/check tests/k8s/check tests/monitoring/check \
  $(wildcard tests/*/*.py tests/*/*/*.py sdk/*.py sdk/python/*/*.py)

.PHONY: lint
lint: ## Check format, lints, documentation, dependencies, spelling, scripts and workflows
	@for tool in fmt clippy; do cargo $$tool --version >/dev/null 2>&1 || missing="$$missing $$tool"; done; \
	if [ -n "$$missing" ]; then \
	  echo "lint: cargo lacks$$missing; to install both: rustup component add rustfmt clippy" >&2; exit 1; \
	fi
	cargo fmt --check
	rustfmt --check --edition 2024 fuzz/fuzz_targets/*.rs
	cargo clippy $(EVERY_TARGET) --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
	PYTHONPYCACHEPREFIX=$(TARGET)/python python3 -m py_compile $(PYTHON)
	.ci/lint

.PHONY: tools
tools: ## Install the tools of `make lint` and `make test` that are not part of Rust, from PyPI into target/tools
	python3 -m venv $(TARGET)/tools
	$(TARGET)/tools/bin/python3 -m pip install --quiet --disable-pip-version-check -r .ci/tools.txt

.PHONY: msrv
msrv: ## Compile with the oldest Rust that is supported
	rustup run --install $(MSRV) cargo check --locked --all-features

IMAGE ?= btcfeed

.PHONY: image
image: ## Build the image IMAGE (needs Docker)
	docker build --file deploy/Dockerfile --tag $(IMAGE) .

.PHONY: version
version: ## Print the version in Cargo.toml
	@echo $(VERSION)

.PHONY: notes
notes: ## Print the section of CHANGELOG.md about this version
	@awk '/^## / { here = index($$0, "## [$(VERSION)]") == 1; next } here' CHANGELOG.md

MUSL := $(ARCH)-unknown-linux-musl
PACKAGE := btcfeed-$(VERSION)-$(ARCH)-linux

.PHONY: dist
dist: ## Build the static Linux program of a release, in target/dist with its checksum (needs musl-tools)
	rustup target add $(MUSL)
	cargo build --release --locked --target $(MUSL)
	rm -rf $(TARGET)/dist/$(PACKAGE)
	mkdir -p $(TARGET)/dist/$(PACKAGE)
	cp $(TARGET)/$(MUSL)/release/btcfeed LICENSE README.md CHANGELOG.md $(TARGET)/dist/$(PACKAGE)
	tar -C $(TARGET)/dist -czf $(TARGET)/dist/$(PACKAGE).tar.gz $(PACKAGE)
	cd $(TARGET)/dist && sha256sum $(PACKAGE).tar.gz > $(PACKAGE).tar.gz.sha256

PROGRAM ?= $(TARGET)/$(MUSL)/release/btcfeed

.PHONY: deb
deb: ## Build the Debian package of PROGRAM, by default the one of `make dist`, in target/dist (needs dpkg-deb)
	deploy/debian/build $(PROGRAM) $(VERSION) $(TARGET)/dist

.PHONY: deb-check
deb-check: ## Install PROGRAM and its Debian package in empty systems, and start both (needs root and Docker)
	tests/packages/check $(PROGRAM)

.PHONY: sbom
sbom: ## List the crates of the program as CycloneDX JSON, in target/dist (needs cargo-cyclonedx)
	cargo cyclonedx --format json --spec-version 1.5 --no-build-deps --override-filename btcfeed-$(VERSION).cdx
	mkdir -p $(TARGET)/dist
	mv btcfeed-$(VERSION).cdx.json $(TARGET)/dist
