# Every task of this project. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

DIST := target/dist
TOOLS := $(CURDIR)/target/tools
PROGRAMS := openclaw openclaw-egress openclaw-runner openclaw-front openclaw-host skill-jail mcp-client
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
release static-release: export SOURCE_DATE_EPOCH := 1767225600
release static-release: export RUSTFLAGS = --remap-path-prefix=$(CURDIR)=/openclaw --remap-path-prefix=$(cargo_home)=/cargo --remap-path-prefix=$(sysroot)=/rust
release static-release: export CFLAGS = -ffile-prefix-map=$(CURDIR)=/openclaw -ffile-prefix-map=$(cargo_home)=/cargo
release static-release: export CARGO_TARGET_DIR = $(CURDIR)/target
release static-release: export CARGO_INCREMENTAL = 0
# The same programs without a library beside them, for the OCI image. What is C in them is musl-gcc's; the linker is not, which
# knows no static program that can be loaded anywhere (-static-pie) and makes one that asks for a loader.
STATIC := x86_64-unknown-linux-musl
static-release: export CC_x86_64_unknown_linux_musl := musl-gcc

step = @printf '\n==> %s\n' "$(1)"

.PHONY: help run test check bench fmt lint build reproduce clean release deny advisories fuzz peers appliance nix \
  static static-release image image-test image-relock image-reproduce

help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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
	@.ci/needs bench
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

# Programs and skills from $(1) into the folder $(2), whole or not at all.
define assemble
$(call step,$(2))
@rm -rf $(2).new
@mkdir -p $(2).new/bin
@install -m 755 $(PROGRAMS:%=$(1)/%) $(2).new/bin/
@for skill in $(SKILLS); do \
  to=$(2).new/skills/$$skill; \
  install -D -m 755 $(1)/$$skill $$to/bin/$$skill; \
  install -m 644 gateway/skills/$$skill/skill.toml gateway/skills/$$skill/SKILL.md $$to/; \
done
@rm -rf $(2) && mv $(2).new $(2)
@cd $(2) && find . -type f -printf '%s\t%P\n' | sort -k2
endef

build: release ## The finished programs and skills, in target/dist
	$(call assemble,target/release,$(DIST))

release:
	$(call step,release build)
	cargo build --release --locked --bins --workspace --exclude openclaw-tests

static: static-release ## The same without a library beside them, in target/dist-static
	$(call assemble,target/$(STATIC)/release,$(DIST)-static)
	@for program in $(DIST)-static/bin/* $(DIST)-static/skills/*/bin/*; do \
	  ! readelf --program-headers $$program | grep -q INTERP || { echo "$$program asks for a loader: it is not static"; exit 1; }; \
	done

static-release:
	$(call step,static release build)
	cargo build --release --locked --bins --workspace --exclude openclaw-tests --target $(STATIC)

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
	cargo test --workspace --locked --test peers -- $(AS_ROOT)

appliance: ## Units, firewall and tunnel of the appliance, and a boot in a container (as root)
	@.ci/needs appliance
	$(call step,the appliance)
	@if [ "$$(id -u)" -eq 0 ]; then tests/appliance/root; else echo "NOT CHECKED: units, firewall and boot need root"; fi
	cargo test --workspace --locked --test appliance -- --nocapture $(AS_ROOT) --skip image::

image: ## Disk image and OCI image of the appliance, in target/image (as root)
	@[ "$$(id -u)" -eq 0 ] || { echo "make image needs root, for the owners of files in a root filesystem: sudo make image"; exit 1; }
	@.ci/needs image
	@$(MAKE) build
	@$(MAKE) static
	image/build

image-test: ## Boots the disk image in a virtual machine, updates it, cuts its power; runs the OCI image (as root, long)
	@.ci/needs image-test
	cargo test --workspace --locked --test appliance image:: -- --nocapture --include-ignored --test-threads 1

image-relock: ## Takes the versions that the archive has today into image/packages.lock
	@.ci/needs image
	image/relock

image-reproduce: ## Makes both images a second time: is every byte the same?
	@.ci/needs image
	image/reproduce

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
