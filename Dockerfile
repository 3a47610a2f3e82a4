# Two images of one server, without torch:
#
#   docker build --target cpu -t fpn-serve:cpu .
#   docker build --target gpu -t fpn-serve:gpu .
#
# The stages of the two differ in their base, in FPN_DEVICE and in which ONNX Runtime they install;
# tests/deploy holds that, so that what is tested of one is true of the other.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# CUDA 13.0 is what onnxruntime-gpu 1.31 was built against; a newer 13.x would only ask the host for
# a newer driver. It and onnxruntime-gpu change together: see deploy/README.md.
#
# The gpu extra's CUDA and cuDNN wheels are left out (deploy/requirements.py): this base has the same
# libraries, on a layer that other images of the host share, and it makes the container toolkit
# refuse a driver that is too old before anything starts.
ARG CUDA_IMAGE=nvidia/cuda:13.0.3-cudnn-runtime-ubuntu24.04


# --- cpu: first, so that a builder which runs every stage up to the target needs no CUDA base

FROM ${PYTHON_IMAGE} AS cpu-base

# A stage of its own: the layer below that installs them is made anew when they change, and not when
# something else in pyproject.toml does.
FROM cpu-base AS cpu-requirements
WORKDIR /build
COPY pyproject.toml deploy/requirements.py ./
RUN python3 requirements.py pyproject.toml cpu > requirements.txt

FROM cpu-base AS cpu-builder
WORKDIR /build
RUN python3 -m venv --without-pip /opt/venv
COPY --from=cpu-requirements /build/requirements.txt ./
RUN python3 -m pip --python /opt/venv/bin/python3 install --no-cache-dir -r requirements.txt
COPY pyproject.toml LICENSE ./
COPY service service
# The other packages stay behind, and so do their commands: of [project.scripts] what the service has is kept.
RUN sed -i '/^\[project\.scripts\]/,/^\[/ { /=/ { /"service\./!d } }' pyproject.toml \
    && python3 -m pip --python /opt/venv/bin/python3 install --no-cache-dir --no-deps .
COPY deploy/probe.py /app/
COPY deploy/models/default/model.onnx /models/
# A checkout under a strict umask must not make files that the server's user cannot read.
RUN chmod -R a+rX /app /models

FROM cpu-base AS cpu
LABEL org.opencontainers.image.title="fpn-serve" \
      org.opencontainers.image.description="Serves a Feature Pyramid Network detector over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0"
# The root file system may be read-only: /tmp is all that is ever written to, so it is the home too.
RUN groupadd --gid 10001 fpn \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin fpn
COPY --from=cpu-builder /opt/venv /opt/venv
COPY --from=cpu-builder /app /app
COPY --from=cpu-builder /models /models
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    FPN_MODEL=/models/model.onnx \
    FPN_DEVICE=cpu
WORKDIR /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "/app/probe.py", "/livez"]
ENTRYPOINT ["fpn-serve"]


# --- gpu: the CUDA base has no Python; Ubuntu 24.04's is 3.12

FROM ${CUDA_IMAGE} AS gpu-base
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*

FROM gpu-base AS gpu-pip
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip \
    && rm -rf /var/lib/apt/lists/*

FROM gpu-base AS gpu-requirements
WORKDIR /build
COPY pyproject.toml deploy/requirements.py ./
RUN python3 requirements.py pyproject.toml gpu > requirements.txt

FROM gpu-pip AS gpu-builder
WORKDIR /build
RUN python3 -m venv --without-pip /opt/venv
COPY --from=gpu-requirements /build/requirements.txt ./
RUN python3 -m pip --python /opt/venv/bin/python3 install --no-cache-dir -r requirements.txt
COPY pyproject.toml LICENSE ./
COPY service service
# The other packages stay behind, and so do their commands: of [project.scripts] what the service has is kept.
RUN sed -i '/^\[project\.scripts\]/,/^\[/ { /=/ { /"service\./!d } }' pyproject.toml \
    && python3 -m pip --python /opt/venv/bin/python3 install --no-cache-dir --no-deps .
COPY deploy/probe.py /app/
COPY deploy/models/default/model.onnx /models/
# A checkout under a strict umask must not make files that the server's user cannot read.
RUN chmod -R a+rX /app /models

FROM gpu-base AS gpu
LABEL org.opencontainers.image.title="fpn-serve" \
      org.opencontainers.image.description="Serves a Feature Pyramid Network detector over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0"
# The root file system may be read-only: /tmp is all that is ever written to, so it is the home too.
RUN groupadd --gid 10001 fpn \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin fpn
COPY --from=gpu-builder /opt/venv /opt/venv
COPY --from=gpu-builder /app /app
COPY --from=gpu-builder /models /models
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    FPN_MODEL=/models/model.onnx \
    FPN_DEVICE=cuda
WORKDIR /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "/app/probe.py", "/livez"]
ENTRYPOINT ["fpn-serve"]
