# One image for every node: which one it is, its command says (compose.yaml). Dependencies are those of
# requirements.lock, hash by hash; nothing is compiled; it runs as a user without a name or a shell.

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ONLY_BINARY=:all:
WORKDIR /src
RUN python -m venv /opt/powershare
COPY requirements.lock requirements-build.lock ./
RUN /opt/powershare/bin/pip install --require-hashes -r requirements.lock
# What builds the wheel stays in this stage.
RUN python -m pip install --require-hashes -r requirements-build.lock
COPY . .
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/powershare/bin/pip install --no-deps /wheels/*.whl

FROM python:3.11-slim
COPY --from=build /opt/powershare /opt/powershare
ENV PATH=/opt/powershare/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001:10001
CMD ["powershare", "--help"]
