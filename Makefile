# The two commands: `make demo` and `make test`. Each sets up what it needs, on a bare Debian 12 with Rust.
# One build profile everywhere (see Cargo.toml): RocksDB takes many minutes to compile, once.
SHELL := /bin/bash
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
QUORATE := $(CARGO_TARGET_DIR)/debug/quorate

.PHONY: help setup build build-all demo lies drills life test fmt lint doc unit audit deploy-test bench compare curves audit-figures completeness clean

help:
	@echo 'make demo   three nodes, real files, a killed leader, every answer proven'
	@echo 'make test   every check there is'
	@echo 'make life   a million keys: nodes join, die, lead and go; backup, restore, export; nothing is lost (KEYS=20000: fewer)'
	@echo 'make drills  everything the runbook has a page for, made to go wrong and put right by the page'
	@echo 'make build  the quorate binary: $(QUORATE)'
	@echo 'make bench   what the parts cost; make compare   the whole beside etcd; make curves   what growing costs (docs/performance.md)'
	@echo 'make lies    every lie of docs/trust.md told, and what becomes of it, as a table'
	@echo 'make audit-figures   what an auditor costs; make completeness   scans and histories of a million keys'
	@echo 'parts of make test: fmt lint doc unit audit deploy-test'

setup:
	@tools/setup

# Always the whole workspace at once: another choice of packages is another choice of features, and would compile the
# dependencies a second time.
build: setup
	cargo build --locked --workspace

build-all: setup
	cargo build --locked --workspace --all-targets

demo: build
	tools/demo $(QUORATE) $(CARGO_TARGET_DIR)/debug/quorate-liar

# The tables are made by tests, which are in `make test` too. One after the other, so that the lines do not mix.
lies: build-all
	QUORATE_BIN=$(QUORATE) cargo test --locked --workspace --test lies -- --nocapture --test-threads 1 table

# One after the other: a drill that waits for a machine is not to wait for another drill.
drills: build-all
	QUORATE_BIN=$(QUORATE) cargo test --locked --workspace --test runbook --test drills --test disk_full --test short_log --test upgrade \
		-- --nocapture --test-threads 1

KEYS ?= 1000000

life: setup
	cargo build --locked --workspace --bins --examples
	QUORATE_BIN=$(QUORATE) $(CARGO_TARGET_DIR)/debug/examples/life --keys $(KEYS)

test: setup fmt lint doc unit audit deploy-test

fmt:
	cargo fmt --all --check

lint: setup
	cargo clippy --locked --workspace --all-targets -- -D warnings

doc: setup
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --locked --workspace --no-deps --document-private-items

unit: build-all
	QUORATE_BIN=$(QUORATE) cargo test --locked --workspace

audit: setup
	tools/audit

deploy-test: build-all
	tools/deploy-test $(QUORATE)

# With the profile of the shipped binary, whose dependencies are built already.
bench: setup
	cargo bench --locked --profile dev -p quorate-core -p quorate-ledger --benches

compare: build-all
	tests/compare/run --quorate $(QUORATE)

# Some twenty minutes; `tests/compare/curves --help` says how to measure less, or more.
curves: build
	tests/compare/curves --quorate $(QUORATE) --out $(CARGO_TARGET_DIR)/curves

# Under four minutes: what an auditor leaves of the rate, how far it is behind, and its memory.
audit-figures: build
	tests/compare/auditor --quorate $(QUORATE)

# The test of completeness with a million keys instead of 4,000.
completeness: build
	QUORATE_BIN=$(QUORATE) QUORATE_TEST_KEYS=1000000 cargo test --locked --workspace --test completeness -- --nocapture

clean:
	cargo clean
