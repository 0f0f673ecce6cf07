# The image, and the container suite that boots it. The Makefile includes this file.

IMAGE = hermes-s6
TEST_IMAGE = hermes-s6:test
# The containers of the suite wait most of the time, so several run at once.
CONTAINER_JOBS = 4
# docker or podman. Their images are not shared.
ENGINE = docker
export ENGINE
# MODE: sealed, open, layer or arguments. In the open mode every container gets HERMES_OPEN_SCANDIR=1. The layer is tested
# on an image that is laid out as Hermes Agent's own. The build arguments are tested all at once.
MODE = sealed
MODE_IMAGE = $(if $(filter layer arguments,$(MODE)),hermes-s6:$(MODE),$(TEST_IMAGE))
ARGUMENTS = HERMES_VERSION=0.18.2 WITH_NPM=0 WITH_DOCKER_CLI=0 WITH_CHROMIUM=1 EXTRA_PACKAGES=jq EXTRA_PYTHON_PACKAGES=cowsay

.PHONY: image test-container bench-boot lint-container

# The Dockerfile compiles the tools and configures its packages in the image. To do that by emulation was not tried.
$(if $(and $(CROSS),$(filter image test-container bench-boot,$(MAKECMDGOALS))),\
  $(error the image for arm64 is not built on another machine: type make $(MAKECMDGOALS) on an arm64 machine))

# S6_LAYER: overlay (the real release), stand-in, a directory with the release's files,
# or an image
image:
	S6_LAYER=$(or $(S6_LAYER),overlay) image-build/build-image $(IMAGE)

# Uses the stand-in unless S6_LAYER is set. Without a container engine it fails if
# REQUIRE_DOCKER=1; otherwise it prints a message and succeeds.
test-container: lint-container
	$(if $(filter podman,$(ENGINE)),@scripts/install-deps podman)
	@if ! $(ENGINE) version >/dev/null 2>&1; then \
	  echo 'test-container: no container engine answers' >&2; \
	  [ "$(REQUIRE_DOCKER)" != 1 ] || exit 1; \
	  exit 0; \
	fi; \
	$(if $(filter arguments,$(MODE)),$(ARGUMENTS)) S6_LAYER=$(or $(S6_LAYER),stand-in) \
	image-build/build-image $(if $(filter layer,$(MODE)),$(TEST_IMAGE),$(MODE_IMAGE)) && \
	$(if $(filter layer,$(MODE)),$(MAKE) --no-print-directory layer && \
	image-build/build-layer $(TEST_IMAGE) $(LAYER) $(MODE_IMAGE) &&) \
	HERMES_S6_IMAGE=$(MODE_IMAGE) MODE=$(MODE) image-build/run-suite $(CONTAINER_JOBS)

# How long gateways take until they serve, all at once and in turn, in the image of the suite; and stand-ins without a
# container. A whole run takes some ten minutes, and writes docs/boot.md, docs/boot.svg and README.md.
#   N='16 60'  only these numbers of gateways, beside one alone; nothing is written
bench-boot: $(EXECUTABLE)
	scripts/install-deps build s6 image
	S6_LAYER=$(or $(S6_LAYER),stand-in) image-build/build-image $(TEST_IMAGE)
	python3 -B benches/boot $(TEST_IMAGE) $(N)

lint-container:
	scripts/install-deps image
	image-build/lint
