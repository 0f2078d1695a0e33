# Muster and Airflow in one image; docker-compose.yaml starts it as four services and a job.
# Any Python from 3.11 to 3.13 will do: docker build --build-arg BASE=python:3.13-slim-bookworm .
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/venv
WORKDIR /src
# What is locked changes less often than the sources, so it has a layer of its own.
COPY requirements.txt .
RUN /opt/venv/bin/pip install --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY include include
COPY plugins plugins
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation . \
    && mkdir -p /opt/muster/include \
    && for folder in automations agents skills; do \
         if [ -d "include/$folder" ]; then cp -r "include/$folder" /opt/muster/include/; fi; done

FROM ${BASE}
RUN useradd --uid 50000 --create-home --shell /usr/sbin/nologin muster \
    && install -d -o muster -g muster /var/lib/muster /var/lib/muster/airflow /var/lib/muster/artifacts /var/lib/muster/inbox
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/muster /opt/muster
COPY docker/prepare.py docker/healthy.py /opt/muster/bin/
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/var/lib/muster/airflow \
    MUSTER_ARTIFACTS=/var/lib/muster/artifacts \
    MUSTER_INCLUDE=/opt/muster/include
USER 50000
WORKDIR /opt/muster
CMD ["airflow", "version"]
