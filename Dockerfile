# Crossfade as a container: only the proxy, as a user without rights, with nothing to build with inside.
#
# The base image is named by its version tag until a machine that reaches a registry has pinned its digest
# (`docker buildx imagetools inspect python:3.13-slim-bookworm`); dependabot then renews it, as it renews the tag.
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY deploy/requirements.lock deploy/requirements-wheel.lock ./
RUN python -m venv /opt/crossfade && python -m venv /opt/wheel \
    && /opt/crossfade/bin/pip install --require-hashes --requirement requirements.lock \
    && /opt/wheel/bin/pip install --require-hashes --requirement requirements-wheel.lock
COPY pyproject.toml README.md LICENSE ./
COPY proxy ./proxy
COPY comparators ./comparators
COPY config ./config
# Everything that is downloaded is held to its hash; the product itself is built here, without an index.
RUN /opt/wheel/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /src/dist . \
    && /opt/crossfade/bin/pip install --no-deps --no-index /src/dist/crossfade-*.whl \
    && /opt/crossfade/bin/pip uninstall --yes pip

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/crossfade --create-home --shell /usr/sbin/nologin crossfade
COPY --from=build /opt/crossfade /opt/crossfade
# Mappings that CROSSFADE_MAPPINGS may name; an image of your own adds yours.
COPY config/*.toml /etc/crossfade/
ENV PATH=/opt/crossfade/bin:$PATH PYTHONDONTWRITEBYTECODE=1 \
    CROSSFADE_LISTEN=0.0.0.0:8000 \
    CROSSFADE_JOURNAL__PATH=/var/lib/crossfade/journal.sqlite
# It listens to other machines, so it starts only with keys for its clients (CROSSFADE_AUTH__MODE=sigv4 and
# CROSSFADE_AUTH__KEYS__…), or with CROSSFADE_AUTH__INSECURE=true where the network keeps strangers out.
USER 10001
WORKDIR /var/lib/crossfade
# The journal: keep it on a volume that outlives the container.
VOLUME /var/lib/crossfade
EXPOSE 8000
# Alive, not ready: a container must not be ended because a store is away.
HEALTHCHECK --interval=10s --timeout=4s --start-period=10s CMD ["crossfade", "health", "http://127.0.0.1:8001/livez"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["crossfade"]
CMD ["serve"]
