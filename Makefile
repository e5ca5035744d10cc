# Everything a developer does here. `make help` lists it.

COMPOSE := $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

.PHONY: help
help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run the feed in one process, for a look at it; nothing but Rust and a C compiler is needed
	cargo run --release --locked -- demo

.PHONY: up
up: ## Build and start the whole stack: Redis, three replicas, nginx on ports 8080 and 8081
	$(COMPOSE) up -d --build

.PHONY: down
down: ## Stop the whole stack; the feed's history is kept
	$(COMPOSE) down

.PHONY: test
test: ## Run all tests; redis-server, nginx, curl, grpcio and websockets are installed if they are not here
	tests/setup cargo test --locked

.PHONY: browser
browser: ## Test the page, btcfeed.js and an EventSource in a headless Chromium or Chrome, which is installed if it is not here
	tests/setup --browser cargo test --locked --test browser -- --test-threads=3

.PHONY: check
check: ## Start the whole stack, kill its leader, and see that no update is lost (needs Docker)
	tests/compose/check

.PHONY: bench
bench: ## Measure what an update costs, in each step and in all (minutes)
	cargo bench --locked --bench hot
	cargo bench --locked --bench fanout
	cargo bench --locked --bench latency

.PHONY: scale
scale: ## Measure six replicas with 100,000 clients, and kill one of them (needs redis-server)
	cargo bench --locked --bench scale -- --replicas 6 --clients 100000 --interval 5s

FUZZ_SECONDS ?= 60
# Stable Rust has no sanitizers, and without `unsafe` code there is nothing for them to find. A message has 4096 bytes at most.
FUZZ = cargo fuzz run --sanitizer none $(1) fuzz/corpus/$(1) fuzz/seeds/$(1) -- -max_total_time=$(FUZZ_SECONDS) -max_len=9000

.PHONY: fuzz
fuzz: ## Give the WebSocket framing and the query what a fuzzer makes, a minute each; FUZZ_SECONDS=600 for more
	@cargo fuzz --version >/dev/null 2>&1 || \
	{ echo "fuzz: cargo-fuzz is not here; it comes with: cargo install --locked cargo-fuzz" >&2; exit 1; }
	@c++ --version >/dev/null 2>&1 || \
	{ echo "fuzz: no C++ compiler is here, which libFuzzer is built with; on Debian: apt-get install g++" >&2; exit 1; }
	cp Cargo.lock fuzz/
	mkdir -p fuzz/corpus/frames fuzz/corpus/query
	$(call FUZZ,frames)
	$(call FUZZ,query)

PYTHON := tests/compose/check $(wildcard tests/*/*.py)

.PHONY: lint
lint: ## Check format, lints, documentation and scripts
	@for tool in fmt clippy; do cargo $$tool --version >/dev/null 2>&1 || missing="$$missing $$tool"; done; \
	if [ -n "$$missing" ]; then \
	  echo "lint: cargo lacks$$missing; both come with: rustup component add rustfmt clippy" >&2; exit 1; \
	fi
	cargo fmt --check
	rustfmt --check --edition 2024 fuzz/fuzz_targets/*.rs
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
	bash -n tests/setup
	bash -n .ci/run
	PYTHONPYCACHEPREFIX=target/python python3 -m py_compile $(PYTHON)
	@if command -v shellcheck >/dev/null; then shellcheck tests/setup .ci/run; \
	else echo "lint: shellcheck is not here, so the scripts were only parsed"; fi
