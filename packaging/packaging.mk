# The packages: the layer for somebody's own image, and the Debian package. The Makefile includes this file.

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
DIST = $(CARGO_TARGET_DIR)/dist
ARCHITECTURE = $(if $(CROSS),aarch64,$(firstword $(subst -, ,$(TARGET))))
DEB_ARCHITECTURE = $(if $(CROSS),arm64,$(shell dpkg --print-architecture))
LAYER = $(DIST)/hermes-s6-$(VERSION)-$(ARCHITECTURE).tar.xz

# Files in a package have this time, so that two builds of one commit are the same.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y NEWS.md)
export SOURCE_DATE_EPOCH

.PHONY: layer deb test-deb reproducible audit deny sbom

$(ARM64): $(SOURCES)
	RUSTFLAGS="$(RUSTFLAGS) $(FLAGS)" packaging/cross-build $@

layer: $(EXECUTABLE) $(RUNNABLE)
	packaging/make-layer $(EXECUTABLE) $(LAYER)

deb: $(EXECUTABLE) $(RUNNABLE)
	packaging/make-deb $(EXECUTABLE) $(DIST) $(DEB_ARCHITECTURE)

$(if $(and $(CROSS),$(filter test-deb,$(MAKECMDGOALS))),\
  $(error the package for arm64 is not installed on another machine: type make test-deb on an arm64 machine))

test-deb: deb
	packaging/test-deb $(DIST)/hermes-s6_$(VERSION)_$(DEB_ARCHITECTURE).deb

# Build twice, from two copies of the last commit in two places, with two directories of cargo's, and compare.
reproducible:
	packaging/reproducible

audit: deny sbom

deny:
	packaging/audit deny

sbom:
	packaging/audit sbom $(DIST)
