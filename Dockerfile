# Not built here yet: linted only (`make lint-deploy`).
#
#   docker build --target worker  -t maum-worker  .
#   docker build --target trainer -t maum-trainer .
#
# torch, by build arguments:
#   TORCH_VARIANT=cpu (default) or cuda: what the image is for; the build stops when the torch that
#     was installed does not fit it.
#   TORCH_INDEX_URL: the package index to take torch from. The default index has one build for each
#     platform, and on x86-64 Linux that one brings all of CUDA along (several GB). Name PyTorch's
#     index of CPU builds for a small CPU image, or its index for a CUDA release to fit an older
#     driver; PyTorch's installation page lists both. Empty: the default index, whatever it holds.

FROM python:3.11-slim AS dependencies
ARG TORCH_VARIANT=cpu
ARG TORCH_INDEX_URL=
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PATH=/opt/venv/bin:$PATH
WORKDIR /build
RUN python -m venv /opt/venv
COPY pyproject.toml constraints.txt ./
# The requirements alone, so that a change of code does not install them again.
RUN python -c "import pathlib, tomllib; \
project = tomllib.loads(pathlib.Path('pyproject.toml').read_text())['project']; \
extras = project['optional-dependencies']; \
pathlib.Path('worker.txt').write_text('\n'.join(project['dependencies'] + extras['tracing'])); \
pathlib.Path('trainer.txt').write_text('\n'.join(extras['train']))"
# Only torch itself comes from its own index: that one lacks the pinned versions of the rest.
RUN if [ -n "$TORCH_INDEX_URL" ]; then \
        pip install --constraint constraints.txt --no-deps --index-url "$TORCH_INDEX_URL" torch; \
    fi \
    && pip install --constraint constraints.txt --requirement worker.txt \
    && python -c "import sys, torch; cuda = torch.version.cuda; \
variant, chosen = sys.argv[1], bool(sys.argv[2]); \
fits = {'cpu': not (cuda and chosen), 'cuda': bool(cuda)}.get(variant, False); \
sys.exit(None if fits else f'TORCH_VARIANT={variant}, but torch {torch.__version__} was installed')" \
        "$TORCH_VARIANT" "$TORCH_INDEX_URL"

FROM dependencies AS trainer-dependencies
RUN pip install --constraint constraints.txt --requirement trainer.txt

FROM python:3.11-slim AS base
# /var/lib/maum is in both images, so that a volume belongs to this user whoever mounts it first.
RUN useradd --uid 10001 --user-group --create-home --shell /usr/sbin/nologin maum \
    && install --directory --owner=maum --group=maum /var/lib/maum
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY LICENSE ./
COPY models/ models/
COPY schemas/ schemas/
COPY worker/ worker/
COPY data/golden.tsv data/
USER 10001
STOPSIGNAL SIGTERM

FROM base AS trainer
COPY --from=trainer-dependencies /opt/venv /opt/venv
COPY trainer/ trainer/
COPY data/train.tsv data/
# What outlives the container: the stages' files (a killed run goes on from them), the registry that
# workers follow, and the models that were downloaded.
ENV TRAINER_WORK=/var/lib/maum/runs \
    TRAINER_REGISTRY=/var/lib/maum/registry \
    HF_HOME=/var/lib/maum/huggingface
VOLUME /var/lib/maum
ENTRYPOINT ["python", "-m", "trainer"]
CMD ["run"]

# Last, so that a build without --target makes the worker.
FROM base AS worker
COPY --from=dependencies /opt/venv /opt/venv
# The admin port is reached from other containers; logs are read by machines.
ENV WORKER_ADMIN_HOST=0.0.0.0 \
    WORKER_ADMIN_PORT=9400 \
    WORKER_LOG_FORMAT=json
EXPOSE 9400
# /live, not /ready: a worker that waits for partitions or for Kafka is well.
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"WORKER_ADMIN_PORT\"]}/live', timeout=4)"]
ENTRYPOINT ["python", "-m", "worker"]
CMD ["run"]
