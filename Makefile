# hermes-s6. `make help` lists the targets.

PREFIX = /usr/local
DESTDIR =
bindir = $(PREFIX)/bin
libdir = $(PREFIX)/lib/hermes-s6
mandir = $(PREFIX)/share/man
sharedir = $(PREFIX)/share

CARGO = cargo
CARGO_TARGET_DIR ?= target
TARGET = $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')

# src/bin has one program for each tool. A tool is installed as a link to the one executable, which looks at its own
# name.
TOOLS := $(sort $(basename $(notdir $(wildcard src/bin/hermes-*.rs))))
PAGES := $(sort $(wildcard man/man*/*.[0-9]))
TEMPLATE := $(sort $(shell cd template/gateway 2>/dev/null && find . -type f))
SOURCES := Cargo.toml Cargo.lock $(shell find src -name '*.rs')
# PLATFORM=linux/arm64 builds for arm64 on another machine. RUNNABLE is this machine's own executable, which prints the
# completions.
PLATFORM =
$(if $(filter-out linux/arm64,$(PLATFORM)),$(error PLATFORM=$(PLATFORM) is not supported: linux/arm64 is))
CROSS := $(and $(PLATFORM),$(filter-out aarch64,$(shell uname -m)))
NATIVE := $(CARGO_TARGET_DIR)/static/hermes-s6
ARM64 := $(CARGO_TARGET_DIR)/static-arm64/hermes-s6
EXECUTABLE := $(if $(CROSS),$(ARM64),$(NATIVE))
RUNNABLE = $(if $(CROSS),$(NATIVE),$(EXECUTABLE))
# Each shell, and where it looks for completions below PREFIX/share. bash and fish look for a file by the command's name.
COMPLETIONS = bash:bash-completion/completions/hermes-s6 zsh:zsh/site-functions/_hermes-s6 \
  fish:fish/vendor_completions.d/hermes-s6.fish
MINIMAL := $(CARGO_TARGET_DIR)/static/minimal

# cargo nextest runs each test in its own process, and reports more. cargo test runs the same tests. The test targets
# are named, because cargo would otherwise also link an empty test program for each tool.
SUITE = $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo nextest run || echo test) --locked --lib --test suite

.PHONY: all build tools install uninstall html test lint suite test-matrix test-clients test-arm64 proof bench bench-programs demo \
  demo-svg clean help
.DELETE_ON_ERROR:

all: build

build: $(EXECUTABLE)

# The same by the name under which PLATFORM is given.
tools: $(EXECUTABLE)
	@echo $(EXECUTABLE)

# Two builds of one commit are the same, wherever they are made with the same compiler and C library: paths of the
# machine are left out of the executable.
CARGO_HOME_PATH = $(or $(CARGO_HOME),$(HOME)/.cargo)
REMAP = --remap-path-prefix=$(CARGO_HOME_PATH)=/cargo --remap-path-prefix=$(CURDIR)=/hermes-s6

FLAGS = -C target-feature=+crt-static

# --target is given even if it is the host's. Without it the flags would apply to build scripts and procedural macros,
# which cannot be static.
STATIC = RUSTFLAGS="$(RUSTFLAGS) $(FLAGS) $(REMAP)" \
  $(CARGO) build --release --locked --target $(TARGET) --target-dir $(CARGO_TARGET_DIR)

# The executable is a file target, so that `sudo make install` after `make` needs no cargo.
$(NATIVE): $(SOURCES)
	@command -v $(CARGO) >/dev/null || { \
	  echo 'make: no $(CARGO) on the PATH: run `make` as a user who has it, then `sudo make install`' >&2; exit 1; }
	$(STATIC) --bin hermes-s6
	install -D -m 0755 $(CARGO_TARGET_DIR)/$(TARGET)/release/hermes-s6 $@

# If root installs, all files belong to root and only root can write to them, whoever built them. The tools require
# that.
install: $(EXECUTABLE) $(RUNNABLE)
	install -d "$(DESTDIR)$(bindir)" "$(DESTDIR)$(libdir)/gateway"
	install -m 0755 $(EXECUTABLE) "$(DESTDIR)$(bindir)/hermes-s6"
	set -e; for tool in $(TOOLS); do ln -sfn hermes-s6 "$(DESTDIR)$(bindir)/$$tool"; done
	set -e; for file in $(TEMPLATE); do \
	  case $$file in \
	    */run | */finish) mode=0755 ;; \
	    *) mode=0644 ;; \
	  esac; \
	  install -D -m $$mode "template/gateway/$$file" "$(DESTDIR)$(libdir)/gateway/$$file"; \
	done
	echo '$(bindir)' >"$(DESTDIR)$(libdir)/gateway/data/bin"
	set -e; for page in $(PAGES:man/%=%); do install -D -m 0644 "man/$$page" "$(DESTDIR)$(mandir)/$$page"; done
	set -e; for completion in $(COMPLETIONS); do \
	  $(RUNNABLE) --completions $${completion%%:*} | install -D -m 0644 /dev/stdin "$(DESTDIR)$(sharedir)/$${completion#*:}"; \
	done
	set -e; for tool in $(TOOLS); do \
	  ln -sfn hermes-s6 "$(DESTDIR)$(sharedir)/bash-completion/completions/$$tool"; \
	  ln -sfn hermes-s6.fish "$(DESTDIR)$(sharedir)/fish/vendor_completions.d/$$tool.fish"; \
	done

uninstall:
	set -e; for tool in hermes-s6 $(TOOLS); do rm -f "$(DESTDIR)$(bindir)/$$tool"; done
	rm -rf "$(DESTDIR)$(libdir)"
	set -e; for page in $(PAGES:man/%=%); do rm -f "$(DESTDIR)$(mandir)/$$page"; done
	set -e; for completion in $(COMPLETIONS); do rm -f "$(DESTDIR)$(sharedir)/$${completion#*:}"; done
	set -e; for tool in $(TOOLS); do \
	  rm -f "$(DESTDIR)$(sharedir)/bash-completion/completions/$$tool" \
	    "$(DESTDIR)$(sharedir)/fish/vendor_completions.d/$$tool.fish"; \
	done

# The pages as HTML, with links between them.
html:
	scripts/install-deps pages
	install -d $(CARGO_TARGET_DIR)/html
	set -e; for page in $(PAGES); do \
	  mandoc -Thtml -O man=%N.%S.html "$$page" >"$(CARGO_TARGET_DIR)/html/$${page##*/}.html"; \
	done

# All tests that need no container engine, with this machine's s6.
test: lint
	scripts/install-deps build s6 hermes shells examples
	scripts/hermes-venv >/dev/null
	$(CARGO) test --locked --doc --quiet
	$(CARGO) $(SUITE) --no-fail-fast

lint:
	scripts/install-deps build rust lint
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --features proof -- -D warnings
	scripts/lint

# The same suite with each s6 that the project supports. The suite is built first, with this machine's own programs.
test-matrix:
	scripts/install-deps build s6 hermes shells examples matrix
	scripts/hermes-venv >/dev/null
	$(CARGO) $(SUITE) --no-run
	scripts/test-matrix $(CARGO) $(SUITE) --no-fail-fast

# The part of the suite that meets the real Hermes Agent, with each of its releases; CLIENTS="0.15.0 0.19.0" chooses.
test-clients:
	scripts/install-deps build s6 hermes
	$(CARGO) $(SUITE) --no-run
	scripts/test-clients $(CARGO) $(SUITE) --no-fail-fast

# The core of the suite with the tools and s6 of arm64, on a machine that is not arm64; TESTS= chooses others.
test-arm64: $(ARM64)
	scripts/install-deps build s6 matrix
	scripts/test-arm64 $(ARM64) $(TESTS)

# Kill every tool, and make calls fail, at every moment, with each s6: see docs/proof.md. A whole run writes its table
# there.
#   S6=2.11              only this s6
#   SHARE=20 SEED=7      only one point in 20; the same seed chooses the same points
#   SCENARIO=stop-up,... only these scenarios
#   POINT='stop-up openat2:1=EIO'  only this point, with the output of the tool
#   JOBS=16              the number of trees at a time
SEED =
SHARE =
SCENARIO =
POINT =
JOBS =
RECORD = $(if $(SHARE)$(SCENARIO)$(POINT),,docs/proof.md)
PROOF = $(CARGO) test --quiet --locked --features proof --test proof

proof: $(EXECUTABLE)
	scripts/install-deps build s6 matrix proof
	$(PROOF) --no-run
	scripts/test-matrix $(PROOF) -- executable=$(EXECUTABLE) seed=$(SEED) share=$(SHARE) scenario=$(SCENARIO) \
	  'point=$(POINT)' jobs=$(JOBS) record=$(RECORD)

# Measure whole processes, and compare them with the Python reconciler and with s6's own programs.
bench:
	scripts/install-deps build s6 hermes bench
	scripts/hermes-venv >/dev/null
	$(CARGO) bench --locked --bench speed

# The programs that benches/speed runs. The bench makes this target by itself.
bench-programs: $(EXECUTABLE) $(MINIMAL)

$(MINIMAL): benches/minimal.rs Cargo.toml Cargo.lock
	$(STATIC) --example minimal
	install -D -m 0755 $(CARGO_TARGET_DIR)/$(TARGET)/release/examples/minimal $@

demo:
	scripts/install-deps build s6 demo $(if $(GATEWAY),,hermes)
	$(MAKE) --no-print-directory build
	demo/run $(GATEWAY)

# The picture in README.md, of a real run of the demo.
demo-svg:
	scripts/install-deps build s6 demo hermes
	$(MAKE) --no-print-directory build
	demo/record docs/demo.svg demo/run

include image-build/image.mk
include packaging/packaging.mk

clean:
	$(CARGO) clean --target-dir $(CARGO_TARGET_DIR)
	rm -rf .cache

help:
	@echo 'make              build: one static executable, $(EXECUTABLE)'
	@echo 'make install      to PREFIX ($(PREFIX)) below DESTDIR: hermes-s6, its tools as links, the template, the pages, completions'
	@echo 'make uninstall    take that away again'
	@echo 'make html         the manual pages as HTML, in $(CARGO_TARGET_DIR)/html'
	@echo 'make demo         the main job, seen working, with the real Hermes Agent; GATEWAY=stand-in without it'
	@echo 'make demo-svg     draw a run of the demo as docs/demo.svg'
	@echo 'make lint         rustfmt, clippy, shellcheck, mandoc, the order of the rooms, the rows of docs/failures.md'
	@echo 'make test         lint, and the suite with the s6 that is installed'
	@echo 'make test-matrix  the suite with s6 2.11, 2.13 and 2.15'
	@echo 'make test-clients  what meets the real Hermes Agent, with each of its releases; CLIENTS= chooses'
	@echo 'make test-arm64   the core of the suite with the tools and s6 of arm64, by qemu-user; TESTS= chooses others'
	@echo 'make proof        a kill and a failed call at every moment of every tool: an hour on two cores for each s6;'
	@echo '                  S6= SCENARIO= POINT= SHARE= SEED= do a part of it, see docs/proof.md'
	@echo 'make image        hermes-s6, the container image; S6_LAYER= chooses its s6'
	@echo 'make test-container  build the image and boot it, with the engine that is here;'
	@echo '                  MODE=open does so with HERMES_OPEN_SCANDIR=1, MODE=arguments with build arguments, ENGINE=podman with Podman'
	@echo 'make layer        a tarball for an image that has s6-overlay 3 and Hermes Agent; test-container MODE=layer tests it'
	@echo 'make deb          a Debian package; make test-deb tries it in a clean Debian'
	@echo 'make tools, layer, deb  with PLATFORM=linux/arm64: for arm64, on an x86_64 machine'
	@echo 'make audit        the crates against deny.toml, and a bill of materials (CycloneDX); make deny, make sbom: one of them'
	@echo 'make reproducible build the layer in two places, and compare the bits'
	@echo 'make bench        speed and size, side by side with their peers'
	@echo 'make bench-boot   how long real gateways take until they serve, in containers; N= chooses how many'
	@echo 'make clean        remove what was built, and .cache'
	@echo
	@echo 'Tools: $(TOOLS)'
