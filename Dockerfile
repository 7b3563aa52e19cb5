# burnrec in a container: `docker build -t burnrec .`, then `docker run --rm burnrec --help`. Needs BuildKit.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libssl-dev pkg-config && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# Named one by one, so that no target folder, data or run directory gets in.
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY configs configs
COPY data data
COPY examples examples
COPY models models
COPY python python
COPY serve serve
COPY src src
COPY train train
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin burnrec && install -s target/release/burnrec /usr/local/bin/burnrec

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libssl3 && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home burnrec
COPY --from=build /usr/local/bin/burnrec /usr/local/bin/burnrec
COPY deploy/health.sh /usr/local/bin/burnrec-health
# By number, so that an orchestrator sees that it is not root.
USER 10001
WORKDIR /burnrec
EXPOSE 8080
# Of `burnrec serve`; other commands are run with --no-healthcheck.
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s CMD ["burnrec-health", "live"]
ENTRYPOINT ["burnrec"]
