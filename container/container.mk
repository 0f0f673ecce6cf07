# The container: image, and the suite that boots it. Included by the Makefile.

IMAGE = hermes-s6
TEST_IMAGE = hermes-s6:test
# The suite's containers mostly wait.
CONTAINER_JOBS = 4
# sealed, or open: every container is started with HERMES_OPEN_SCANDIR=1
MODE = sealed

.PHONY: image test-container lint-container

# S6_LAYER: overlay (the real release), stand-in, a directory with the release's files, or an image
image:
	S6_LAYER=$(or $(S6_LAYER),overlay) container/build-image $(IMAGE)

# With the stand-in unless told otherwise. Without an engine it fails if REQUIRE_DOCKER=1, else it says so and ends.
test-container: lint-container
	@if ! docker version >/dev/null 2>&1; then \
	  echo 'test-container: no container engine answers' >&2; \
	  [ "$(REQUIRE_DOCKER)" != 1 ] || exit 1; \
	  exit 0; \
	fi; \
	S6_LAYER=$(or $(S6_LAYER),stand-in) container/build-image $(TEST_IMAGE) && \
	HERMES_S6_IMAGE=$(TEST_IMAGE) MODE=$(MODE) container/run-suite $(CONTAINER_JOBS)

lint-container:
	scripts/install-deps image
	container/lint
