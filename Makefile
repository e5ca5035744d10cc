# Everything a developer does here. `make help` lists it.

COMPOSE := $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

.PHONY: help
help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run the feed in one process, for a look at it; nothing but Rust is needed
	cargo run --release --locked -- demo

.PHONY: up
up: ## Build and start the whole stack: Redis, three replicas, nginx on ports 8080 and 8081
	$(COMPOSE) up -d --build

.PHONY: down
down: ## Stop the whole stack; the feed's history is kept
	$(COMPOSE) down

.PHONY: test
test: ## Run all tests; redis-server, nginx and grpcio are installed if they are not here
	tests/setup cargo test --locked

.PHONY: browser
browser: ## Test the page and btcfeed.js in a headless Chromium or Chrome, which is installed if it is not here
	tests/setup --browser cargo test --locked --test browser -- --test-threads=3

.PHONY: check
check: ## Start the whole stack, kill its leader, and see that no update is lost (needs Docker)
	tests/compose/check

.PHONY: bench
bench: ## Measure what an update costs
	cargo bench --locked --bench fanout

.PHONY: lint
lint: ## Check format, lints, documentation and scripts
	@for tool in fmt clippy; do cargo $$tool --version >/dev/null 2>&1 || missing="$$missing $$tool"; done; \
	if [ -n "$$missing" ]; then \
	  echo "lint: cargo lacks$$missing; both come with: rustup component add rustfmt clippy" >&2; exit 1; \
	fi
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
	bash -n tests/setup
	bash -n .ci/run
	@if command -v shellcheck >/dev/null; then shellcheck tests/setup .ci/run; \
	else echo "lint: shellcheck is not here, so the scripts were only parsed"; fi
