# Image that repeats the embedded experiment (docs/archive.md). `make lint` checks this file; no test builds the image.
FROM python:3.11-slim-bookworm

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 reproducer

USER 1000
WORKDIR /home/reproducer
COPY --chown=1000 . .
RUN make install

CMD ["make", "reproduce"]
