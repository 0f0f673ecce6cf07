# Hermes Agent with one supervised gateway per profile, under s6-overlay.
# Builds with BuildKit and with the classic builder; without registries or release
# downloads, see image-build/.

# The base images. A build argument can name a mirror's.
ARG DEBIAN_IMAGE=debian:13.4-slim
ARG RUST_IMAGE=rust:1.95-slim-trixie
# The s6 layer: the name of a stage below, or an image that has the tree in /s6-layer.
ARG S6_LAYER=s6-overlay

# The Debian packages that the container needs at run time. There is no compiler. npm
# brings npx, which starts most MCP servers. The client of docker is for the `docker`
# terminal, where the engine's socket is mounted. Both are there by default, as in Hermes
# Agent's own image. Chromium is not: it adds a third to the image.
FROM ${DEBIAN_IMAGE} AS base
# An apt mirror to use instead of the base image's own: http://...
ARG APT_MIRROR=""
# 1, or 0 to leave it out.
ARG WITH_NPM=1
ARG WITH_DOCKER_CLI=1
ARG WITH_CHROMIUM=0
# Further Debian packages for the agent to use.
ARG EXTRA_PACKAGES=""
SHELL ["/bin/sh", "-eu", "-c"]
# These versions are pinned by Debian's point release.
# hadolint ignore=DL3008,SC2086
RUN if [ -n "$APT_MIRROR" ]; then \
        find /etc/apt '(' -name '*.list' -o -name '*.sources' ')' -exec \
            sed -i -E "s#https?://[^ ]*/debian/?( |\$)#$APT_MIRROR\1#" {} +; \
    fi; \
    export DEBIAN_FRONTEND=noninteractive; \
    wanted=$EXTRA_PACKAGES; \
    [ "$WITH_NPM" != 1 ] || wanted="npm $wanted"; \
    [ "$WITH_DOCKER_CLI" != 1 ] || wanted="docker-cli $wanted"; \
    [ "$WITH_CHROMIUM" != 1 ] || wanted="chromium $wanted"; \
    apt-get update; \
    apt-get install -y --no-install-recommends \
        ca-certificates curl ffmpeg git nodejs openssh-client procps python3 python3-olm ripgrep tzdata $wanted; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb /var/log/apt /var/log/dpkg.log

# What installs the tools and makes the index of their pages. The image of Rust has neither.
FROM base AS install
SHELL ["/bin/sh", "-eu", "-c"]
# hadolint ignore=DL3008
RUN apt-get update; \
    apt-get install -y --no-install-recommends make mandoc

# The tools, their template, the pages and the completions, as `make install` installs them.
FROM ${RUST_IMAGE} AS tools
# The index of a cargo registry to use instead of the public one: sparse+https://...
ARG CARGO_INDEX=""
ENV CARGO_TARGET_DIR=/target SOURCE_DATE_EPOCH=0
SHELL ["/bin/sh", "-eu", "-c"]
COPY --from=install /usr/bin/make /usr/bin/make
# mandoc does what its name says.
COPY --from=install /usr/bin/mandoc /usr/bin/makewhatis
WORKDIR /build
# hadolint ignore=SC2016
RUN if [ -n "$CARGO_INDEX" ]; then \
        printf '[source.crates-io]\nreplace-with = "mirror"\n[source.mirror]\nregistry = "%s"\n' "$CARGO_INDEX" \
            >"$CARGO_HOME/config.toml"; \
    fi
COPY Makefile ./
COPY image-build/image.mk image-build/
COPY packaging/packaging.mk packaging/
# Build the dependencies first, with an empty program, because they seldom change. Tests
# and benches are left out of the image and its cache, and so are their entries in the
# manifest.
COPY Cargo.toml Cargo.lock ./
RUN sed -i '/^\[\[\(test\|bench\|example\)\]\]/,/^$/d' Cargo.toml; \
    mkdir src; : >src/lib.rs; echo 'fn main() {}' >src/main.rs; \
    make build; \
    rm -r src
COPY src ./src
COPY template ./template
COPY man ./man
RUN touch src/*.rs; \
    make install DESTDIR=/tools; \
    makewhatis /tools/usr/local/share/man

# The real s6 layer. The classic builder builds every stage, so this one asks whether it
# is wanted; image-build/s6-overlay-release may hold the files, where there is no download.
FROM base AS s6-overlay
ARG S6_LAYER
ARG S6_OVERLAY_URL=https://github.com/just-containers/s6-overlay/releases/download/v3.2.3.0
ARG S6_OVERLAY_NOARCH_SHA256=b720f9d9340efc8bb07528b9743813c836e4b02f8693d90241f047998b4c53cf
ARG S6_OVERLAY_SYMLINKS_SHA256=a60dc5235de3ecbcf874b9c1f18d73263ab99b289b9329aa950e8729c4789f0e
ARG S6_OVERLAY_X86_64_SHA256=a93f02882c6ed46b21e7adb5c0add86154f01236c93cd82c7d682722e8840563
ARG S6_OVERLAY_AARCH64_SHA256=0952056ff913482163cc30e35b2e944b507ba1025d78f5becbb89367bf344581
SHELL ["/bin/sh", "-eu", "-c"]
COPY image/unpack-s6-overlay image-build/s6-overlay-release* /s6-overlay-release/
# hadolint ignore=DL3008
RUN if [ "${S6_LAYER##*/}" = s6-overlay ]; then \
        apt-get update; \
        apt-get install -y --no-install-recommends xz-utils; \
        /s6-overlay-release/unpack-s6-overlay "$S6_OVERLAY_URL" /s6-layer; \
    fi

FROM ${S6_LAYER} AS s6-layer

# Hermes Agent. Every file is verified against the lock. Its skills are only in its source
# distribution, and its licence is there too. libolm's Python binding, for Matrix, has no
# wheel; Debian's is used.
FROM base AS agent
# A package index to use instead of pip's own.
ARG PIP_INDEX_URL=""
# Further Python packages for the agent, as pip takes them. They are not in the lock. They
# cannot change the version of a package that is.
ARG EXTRA_PYTHON_PACKAGES=""
# Another release of Hermes Agent than the locked one: 0.15.0 or later. Nothing of it is
# verified then, and pip chooses the versions of what it needs.
ARG HERMES_VERSION=""
SHELL ["/bin/sh", "-eu", "-c"]
# hadolint ignore=DL3008
RUN apt-get update; \
    apt-get install -y --no-install-recommends python3-setuptools python3-venv
COPY image/requirements.in image/requirements.lock /
# hadolint ignore=DL3042,DL4006,SC2086
RUN [ -n "$PIP_INDEX_URL" ] || unset PIP_INDEX_URL; \
    locked='--no-deps --only-binary :all: --require-hashes'; \
    if [ -n "$HERMES_VERSION" ]; then \
        locked=; \
        sed "s/^\(hermes-agent.*==\).*/\1$HERMES_VERSION/" /requirements.in >/requirements.lock; \
    fi; \
    python3 -m venv /opt/hermes/.venv; \
    packages=$(echo /opt/hermes/.venv/lib/python3*/site-packages); \
    ln -s /usr/lib/python3/dist-packages/*olm* "$packages/"; \
    /opt/hermes/.venv/bin/pip install --disable-pip-version-check --no-cache-dir $locked -r /requirements.lock; \
    printf 'docker\n' | tee /opt/hermes/.install_method >"$packages/.install_method"
# hadolint ignore=DL3042,SC2086
RUN [ -n "$PIP_INDEX_URL" ] || unset PIP_INDEX_URL; \
    sed -n '/^hermes-agent==/,/[^\\]$/p' /requirements.lock >/source.lock; \
    hashes=--require-hashes; \
    if [ -n "$HERMES_VERSION" ]; then hashes=; echo "hermes-agent==$HERMES_VERSION" >/source.lock; fi; \
    python3 -m venv --system-site-packages /source; \
    /source/bin/pip download --disable-pip-version-check --no-cache-dir --no-deps --no-build-isolation \
        --no-binary :all: $hashes -d /source -r /source.lock; \
    tar -xzf /source/hermes_agent-*.tar.gz -C /opt/hermes --strip-components 1 --no-same-owner \
        --wildcards 'hermes_agent-*/skills' 'hermes_agent-*/optional-skills' 'hermes_agent-*/LICENSE'
# hadolint ignore=DL3042,SC2086
RUN [ -n "$PIP_INDEX_URL" ] || unset PIP_INDEX_URL; \
    if [ -n "$EXTRA_PYTHON_PACKAGES" ]; then \
        /opt/hermes/.venv/bin/pip list --disable-pip-version-check --format freeze >/constraints; \
        /opt/hermes/.venv/bin/pip install --disable-pip-version-check --no-cache-dir -c /constraints $EXTRA_PYTHON_PACKAGES; \
    fi; \
    /opt/hermes/.venv/bin/pip check --disable-pip-version-check
COPY image/seed/ /opt/hermes/docker/seed/
COPY image/write-seed.py /
RUN /opt/hermes/.venv/bin/python /write-seed.py /opt/hermes/docker; \
    chmod -R a+rX,go-w /opt/hermes

FROM base
SHELL ["/bin/sh", "-eu", "-c"]
# The account can write to no directory on the PATH. The variables also name the scandir
# of s6-overlay. /command has its programs; without it `docker exec` would not find them
# (docs/failures.md, H6).
ENV PATH=/opt/hermes/bin:/opt/hermes/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/command \
    HERMES_HOME=/opt/data \
    API_SERVER_PORT=8642 \
    HERMES_BUNDLED_SKILLS=/opt/hermes/skills \
    HERMES_OPTIONAL_SKILLS=/opt/hermes/optional-skills \
    HERMES_WRITE_SAFE_ROOT=/opt/data \
    HERMES_DISABLE_LAZY_INSTALLS=1 \
    HERMES_LAZY_INSTALL_TARGET=/opt/data/lazy-packages \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN groupadd --gid 10000 hermes; \
    useradd --uid 10000 --gid 10000 --home-dir /opt/data --no-create-home --shell /bin/bash hermes; \
    install -d -m 0755 -o hermes -g hermes /opt/data
COPY --from=agent /opt/hermes/ /opt/hermes/
COPY --from=s6-layer /s6-layer/ /
RUN mv /init /opt/hermes/docker/s6-init
COPY image/init /init
COPY image/main-wrapper.sh image/migrate-config.py image/migrate-home image/seed-home /opt/hermes/docker/
COPY image/tini /usr/bin/tini
COPY image/bin/ /opt/hermes/bin/
COPY image/profile.d/ /etc/profile.d/
COPY cont-init.d/ /etc/cont-init.d/
COPY s6-rc.d/ /etc/s6-overlay/s6-rc.d/
# s6-overlay 3.2.3.2 has its bundles in a directory of their own, and warns if they are
# among the services.
RUN services=/etc/s6-overlay/s6-rc.d bundles=/etc/s6-overlay/user-bundles.d; \
    if [ -d "$bundles" ]; then cp -R "$services/user" "$bundles/"; rm -rf "$services/user" "$services/user2"; fi
# Completions in every interactive bash, and what shows the pages where one types man.
# hadolint ignore=DL3008,SC2016
RUN printf '\n%s\n' '. /usr/local/share/bash-completion/completions/hermes-s6' >>/etc/bash.bashrc; \
    apt-get update; \
    apt-get install -y --no-install-recommends mandoc; \
    printf '#!/bin/sh\nexec mman "$@"\n' >/usr/bin/man; \
    chmod 0755 /usr/bin/man; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/log/apt /var/log/dpkg.log
COPY LICENSE LICENSE-APACHE LICENSE-MIT /usr/share/doc/hermes-s6/
COPY --from=tools /tools/ /

# The working directory is not the account's home, so a program that root starts by
# docker exec finds no file of the account's in it.
WORKDIR /opt/hermes
VOLUME /opt/data
# The API server of the profile default, and the dashboard.
EXPOSE 8642 9119
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/hermes-svc-status", "-r", "-g", "120000"]
ENTRYPOINT ["/init", "/opt/hermes/docker/main-wrapper.sh"]

ARG VERSION=0.1.0
ARG REVISION=""
ARG HERMES_VERSION=""
LABEL org.opencontainers.image.title="hermes-s6" \
    org.opencontainers.image.description="Hermes Agent, every profile its own supervised gateway under s6" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="debian:13.4-slim" \
    io.github.hermes-s6.hermes-agent="${HERMES_VERSION:-0.19.0}"
