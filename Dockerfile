# The server without torch, for an NVIDIA GPU:
#
#   docker build -t fpn-serve:gpu .
#
# and for a CPU, by the same instructions on another base:
#
#   docker build --build-arg BASE_IMAGE=python:3.11-slim-bookworm --build-arg DEVICE=cpu -t fpn-serve:cpu .
#
# Nothing in the finished image needs a shell: it is started, asked for its health and ended without one.

# CUDA 13.0 is what onnxruntime-gpu 1.31 was built against; a newer 13.x would only ask the host for
# a newer driver. It and onnxruntime-gpu change together: see deploy/README.md.
#
# The gpu extra's CUDA and cuDNN wheels are left out (deploy/lock.py): this base has the same
# libraries, on a layer that other images of the host share, and it makes the container toolkit
# refuse a driver that is too old before anything starts.
ARG BASE_IMAGE=nvidia/cuda:13.0.3-cudnn-runtime-ubuntu24.04
# cuda or cpu: names the locked packages and the device that is served on.
ARG DEVICE=cuda

FROM ${BASE_IMAGE} AS base
# The CUDA base has no Python; Ubuntu 24.04's is 3.12.
# hadolint ignore=DL3008
RUN command -v python3 > /dev/null \
    || { apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*; }

FROM base AS builder
ARG DEVICE
# hadolint ignore=DL3008
RUN python3 -m pip --version > /dev/null 2>&1 \
    || { apt-get update && apt-get install -y --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*; }
WORKDIR /build
RUN python3 -m venv --without-pip /opt/venv && python3 -m venv --without-pip /opt/tools
# Layers of their own, made anew when what is locked changes, and not with the sources.
COPY deploy/locked locked
RUN python3 -m pip --python /opt/venv/bin/python3 install --no-cache-dir --require-hashes --no-deps \
        --only-binary :all: -r "locked/${DEVICE}.txt" \
    && python3 -m pip --python /opt/tools/bin/python3 install --no-cache-dir --require-hashes --no-deps \
        --only-binary :all: -r locked/build.txt
COPY pyproject.toml LICENSE ./
COPY service service
# The other packages stay behind, and so do their commands: of [project.scripts] what the service has is kept.
RUN sed -i '/^\[project\.scripts\]/,/^\[/ { /=/ { /"service\./!d } }' pyproject.toml \
    && python3 -m pip --python /opt/tools/bin/python3 wheel --no-cache-dir --no-build-isolation --no-deps -w /wheel . \
    && python3 -m pip --python /opt/venv/bin/python3 install --no-cache-dir --no-deps /wheel/*.whl
COPY deploy/probe.py /app/
# What the environment holds, as CycloneDX has it.
RUN /opt/tools/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
        --output-file /app/sbom.cdx.json /opt/venv/bin/python3
# One model in the precisions that its gates passed; the server takes the one for its device.
COPY deploy/models/default/*.onnx /model/
# A checkout under a strict umask must not make files that the server's user cannot read.
RUN chmod -R a+rX /app /model

FROM base AS detector
ARG DEVICE
ARG BASE_IMAGE
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fpn-serve" \
      org.opencontainers.image.description="Serves a Feature Pyramid Network detector over HTTP" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.licenses="Apache-2.0"
# The root file system may be read-only: /tmp is all that is ever written to, so it is the home too.
RUN groupadd --gid 10001 fpn \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin fpn
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /app /app
COPY --from=builder /model /model
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    FPN_MODEL=/model \
    FPN_DEVICE=${DEVICE}
WORKDIR /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Healthy is ready: every shape was run, and the model's golden photographs were answered as at export.
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 \
    CMD ["python3", "/app/probe.py", "/readyz"]
ENTRYPOINT ["fpn-serve"]
