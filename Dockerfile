# syntax=docker/dockerfile:1
# The node as an image: `docker build -t chaoschain .`

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p chaoschain-cli && \
    cp target/release/chaoschain /usr/local/bin/chaoschain

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /data chaoschain && \
    install -d -o chaoschain -g chaoschain -m 0700 /data
COPY --from=build /usr/local/bin/chaoschain /usr/local/bin/chaoschain
USER chaoschain
# Its own directory within the volume: a data directory is made where nothing is.
ENV CHAOSCHAIN_DIR=/data/node CHAOSCHAIN_LISTEN=0.0.0.0:4280 CHAOSCHAIN_LOG_FORMAT=json
VOLUME /data
EXPOSE 4280
# Alive and not stopped at its last good height. Whether it is ready to be asked is for /readyz to say.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5m \
    CMD ["chaoschain", "status", "--node", "http://127.0.0.1:4280", "--json"]
ENTRYPOINT ["chaoschain"]
CMD ["up"]
