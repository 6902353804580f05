# tokenward as a static binary and nothing else: docker build -t tokenward .
# It runs in /tokenward, which is to hold tokenward.yaml (or name another with -c); data/ there must outlive the container.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY . .
ENV CGO_ENABLED=0
ARG VERSION=dev
ARG COMMIT=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT" -o /out/tokenward .
# The folders of the configuration's defaults. They come with their owner, and so does a fresh volume that is mounted there.
RUN mkdir -p -m 0700 /folders/tokenward/data /folders/tokenward/run /folders/tokenward/keys

# The simulated provider of docker-compose.yaml, which no other image contains.
FROM build AS build-sim
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -trimpath -ldflags "-s -w" -o /out/sim ./integration/sim

FROM gcr.io/distroless/static-debian12:nonroot AS sim
COPY --from=build-sim /out/sim /usr/bin/sim
COPY --from=build-sim --chown=65532:65532 /folders/ /
USER 65532:65532
WORKDIR /tokenward
ENTRYPOINT ["/usr/bin/sim"]

FROM gcr.io/distroless/static-debian12:nonroot AS tokenward
COPY --from=build /out/tokenward /usr/bin/tokenward
COPY --from=build --chown=65532:65532 /folders/ /
USER 65532:65532
WORKDIR /tokenward
ENTRYPOINT ["/usr/bin/tokenward"]
CMD ["serve"]
