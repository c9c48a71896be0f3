# Every task of this project. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

DIST := target/dist
TOOLS := $(CURDIR)/target/tools
PROGRAMS := openclaw openclaw-egress openclaw-runner skill-jail mcp-client
SKILLS := $(patsubst gateway/skills/%/skill.toml,%,$(wildcard gateway/skills/*/skill.toml))
# Always the whole workspace: with `-p` cargo would choose other features and build every dependency twice.
TESTS := $(sort claims $(basename $(notdir $(wildcard gateway/*/tests/*.rs gateway/skills/*/tests/*.rs))) \
  $(notdir $(patsubst %/main.rs,%,$(wildcard gateway/*/tests/*/main.rs gateway/skills/*/tests/*/main.rs))))
# Some tests mount disks or read another process's memory: as root they run, else they are counted as ignored.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--include-ignored)
# Seconds for each fuzz target in `make check`; `make fuzz SECONDS_EACH=600` for a longer hunt.
SECONDS_EACH ?= 20
# Options of `make bench`, such as --full, --json or --only=cost.
BENCH ?=

# A release build leaves no trace of where or when it was made, so that two of them are equal bit for bit: the paths of
# project, crates and toolchain are replaced in Rust and in C, and the only time in it is this one (2026-01-01 UTC).
cargo_home = $(or $(CARGO_HOME),$(HOME)/.cargo)
sysroot = $(shell rustc --print sysroot)
release: export SOURCE_DATE_EPOCH := 1767225600
release: export RUSTFLAGS = --remap-path-prefix=$(CURDIR)=/openclaw --remap-path-prefix=$(cargo_home)=/cargo --remap-path-prefix=$(sysroot)=/rust
release: export CFLAGS = -ffile-prefix-map=$(CURDIR)=/openclaw -ffile-prefix-map=$(cargo_home)=/cargo
release: export CARGO_TARGET_DIR = $(CURDIR)/target
release: export CARGO_INCREMENTAL = 0

step = @printf '\n==> %s\n' "$(1)"

.PHONY: help run test check bench fmt lint build reproduce clean release deny advisories fuzz peers appliance nix

help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Build, start the three processes, and open a chat in this terminal
	@.ci/needs build
	@$(MAKE) build
	@exec .ci/start

test: ## Unit tests and the promises in tests/claims, against the real programs
	@.ci/needs build
	$(call step,formatting)
	cargo fmt --all --check
	$(call step,programs)
	cargo build --workspace --bins --locked
	$(call step,the Bot API's schema)
	@.ci/needs schema
	tests/peers/install schema
	$(call step,tests)
	cargo test --workspace --locked --lib --bins $(TESTS:%=--test %) -- $(AS_ROOT)

check: ## Everything that CI runs: lints, dependencies, all tests, third parties, fuzzing
	@.ci/needs check
	@$(MAKE) lint
	@$(MAKE) deny
	@$(MAKE) test
	@$(MAKE) peers
	@$(MAKE) appliance
	@$(MAKE) fuzz
	@$(MAKE) advisories

bench: ## Measure speed and memory, as ratios within one run (BENCH=--full: 100,000 messages)
	@.ci/needs build
	@$(MAKE) build
	cargo build --quiet --profile measure --locked -p openclaw-tests --bins
	OPENCLAW_DIST=$(CURDIR)/$(DIST) target/measure/bench $(BENCH)

fmt: ## Format the code
	cargo fmt --all

lint: ## Formatting and clippy, warnings are errors
	$(call step,formatting)
	cargo fmt --all --check
	$(call step,clippy)
	cargo clippy --workspace --all-targets --locked -- -D warnings

build: release ## The finished programs and skills, in target/dist
	$(call step,$(DIST))
	@rm -rf $(DIST).new
	@mkdir -p $(DIST).new/bin
	@install -m 755 $(PROGRAMS:%=target/release/%) $(DIST).new/bin/
	@for skill in $(SKILLS); do \
	  to=$(DIST).new/skills/$$skill; \
	  install -D -m 755 target/release/$$skill $$to/bin/$$skill; \
	  install -m 644 gateway/skills/$$skill/skill.toml gateway/skills/$$skill/SKILL.md $$to/; \
	done
	@rm -rf $(DIST) && mv $(DIST).new $(DIST)
	@cd $(DIST) && find . -type f -printf '%s\t%P\n' | sort -k2

release:
	$(call step,release build)
	cargo build --release --locked --bins --workspace --exclude openclaw-tests

reproduce: ## Two clean release builds in different folders: is every program the same, bit for bit?
	@.ci/needs build
	@.ci/reproduce

deny: ## Licences, forbidden crates and sources of the dependencies
	@.ci/needs deny
	$(call step,dependencies)
	$(TOOLS)/bin/cargo-deny --all-features check bans licenses sources

advisories: ## Known vulnerabilities of the dependencies, where the advisory database is at hand
	$(call step,advisories)
	@.ci/advisories

peers: ## Third parties: Bot API schema, other bot libraries, model SDKs and mocks, a real local model
	@.ci/needs peers
	$(call step,third parties)
	tests/peers/install
	cargo test --workspace --locked --test peers

appliance: ## Units, firewall and tunnel of the appliance, and a boot in a container (as root)
	@.ci/needs appliance
	$(call step,the appliance)
	@if [ "$$(id -u)" -eq 0 ]; then tests/appliance/root; else echo "NOT CHECKED: units, firewall and boot need root"; fi
	cargo test --workspace --locked --test appliance -- --nocapture $(AS_ROOT)

nix: ## The Nix files: facts, units, settings; with OPENCLAW_NIXPKGS=DIR the whole appliance and each refusal
	@.ci/needs nix
	$(call step,Nix)
	cargo test --workspace --locked --test appliance nix:: -- --nocapture

fuzz: ## Fuzz each parser briefly
	@.ci/needs fuzz
	$(call step,fuzzing)
	@.ci/fuzz $(SECONDS_EACH)

clean: ## Remove everything that was built
	rm -rf target tests/fuzz/target tests/.peers
