# The image, and the container suite that boots it. The Makefile includes this file.

IMAGE = hermes-s6
TEST_IMAGE = hermes-s6:test
# The containers of the suite wait most of the time, so several run at once.
CONTAINER_JOBS = 4
# MODE: sealed, or open. In the open mode every container gets HERMES_OPEN_SCANDIR=1.
MODE = sealed

.PHONY: image test-container lint-container

# S6_LAYER: overlay (the real release), stand-in, a directory with the release's files,
# or an image
image:
	S6_LAYER=$(or $(S6_LAYER),overlay) image-build/build-image $(IMAGE)

# Uses the stand-in unless S6_LAYER is set. Without a container engine it fails if
# REQUIRE_DOCKER=1; otherwise it prints a message and succeeds.
test-container: lint-container
	@if ! docker version >/dev/null 2>&1; then \
	  echo 'test-container: no container engine answers' >&2; \
	  [ "$(REQUIRE_DOCKER)" != 1 ] || exit 1; \
	  exit 0; \
	fi; \
	S6_LAYER=$(or $(S6_LAYER),stand-in) image-build/build-image $(TEST_IMAGE) && \
	HERMES_S6_IMAGE=$(TEST_IMAGE) MODE=$(MODE) image-build/run-suite $(CONTAINER_JOBS)

lint-container:
	scripts/install-deps image
	image-build/lint
