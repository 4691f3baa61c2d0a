# The registry proxy as a container, and with `--target localcloud` the cloud to try it on.
# docker builds it with or without BuildKit. podman and buildah do with `--format docker`;
# without it they leave out the health check.

# A Debian with Python where python:slim has it, and with the authorities to be trusted.
# With a digest, python:3.13-slim@sha256:…, it is the same in each build.
ARG PYTHON_IMAGE=python:3.13-slim


FROM ${PYTHON_IMAGE} AS packages
ARG PIP_INDEX_URL
COPY requirements.txt /
RUN python3 -m venv /venv \
    && /venv/bin/pip install --quiet --disable-pip-version-check --no-cache-dir \
        --no-compile --require-hashes --only-binary :all: -r /requirements.txt \
    && /venv/bin/pip uninstall --quiet --yes pip
# What a proxy has no use for: zstandard for PyPy, and the capture of local programs.
RUN rm -f /venv/lib/python3*/site-packages/zstandard/_cffi.*.so \
    /venv/bin/mitmproxy-linux-redirector
# Nothing can be written once it runs, so the bytecode has to be there: that of what is
# used, and of Python's own library, from which python:slim removed it.
RUN PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=/bytecode /venv/bin/python -c \
    'import cachetools, jinja2, prometheus_client, requests, semver, tqdm; \
    from mitmproxy.tools import dump, main'


# What the image is made of, as `make sbom` writes it.
FROM ${PYTHON_IMAGE} AS bill
ARG PIP_INDEX_URL
COPY requirements-bill.txt /
RUN python3 -m venv /venv \
    && /venv/bin/pip install --quiet --disable-pip-version-check --no-cache-dir \
        --require-hashes --only-binary :all: -r /requirements-bill.txt
COPY requirements.txt pyproject.toml /
RUN /venv/bin/python -W ignore -m cyclonedx_py requirements /requirements.txt \
    --pyproject /pyproject.toml --output-reproducible -o /sbom.cdx.json


FROM packages AS proxy-code
WORKDIR /app
COPY addon.py mitm.conf ./
COPY registry_proxy registry_proxy
COPY cause cause
COPY live live
COPY mitm mitm
COPY pull pull
COPY report report
COPY resolver resolver
RUN chmod -R a+rX . \
    && PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=/bytecode /venv/bin/python -c \
        'import addon, registry_proxy.__main__, registry_proxy.serve, resolver.__main__; \
        import registry_proxy.trust, live.site, pull.command, report.command'


# sly has no wheel; it is plain Python, so nothing is compiled for it.
FROM ${PYTHON_IMAGE} AS localcloud-code
ARG PIP_INDEX_URL
COPY requirements-localcloud.txt /
RUN python3 -m venv /venv \
    && /venv/bin/pip install --quiet --disable-pip-version-check --no-cache-dir \
        --require-hashes --only-binary :all: --no-binary sly \
        -r /requirements-localcloud.txt \
    && /venv/bin/pip uninstall --quiet --yes pip
WORKDIR /app
COPY localcloud localcloud
RUN chmod -R a+rX .


FROM ${PYTHON_IMAGE} AS localcloud
COPY --from=localcloud-code /venv /venv
COPY --from=localcloud-code /app /app
ENV PATH=/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
EXPOSE 5000 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", \
    "import socket; socket.create_connection(('127.0.0.1', 5000), 4)"]
LABEL org.opencontainers.image.title="localcloud" \
    org.opencontainers.image.description="A balenaCloud in one process, to try the registry proxy on" \
    org.opencontainers.image.licenses="Apache-2.0"
# Its URLs have the name under which the proxy finds it, which is the service's in
# compose.yaml.
CMD ["python", "-m", "localcloud", "--host", "0.0.0.0", "--public-host", "localcloud", \
    "--registry-port", "5000", "--api-port", "8000"]


FROM ${PYTHON_IMAGE} AS proxy
# Where mitmproxy keeps its certificate authority and reads its options, which the command
# links there too; mitmweb counts on them. The user is a number, so that Kubernetes can
# see that it is not root. The other folder is for CACHE: a volume that is mounted there
# belongs to that user as well. Without one nothing is kept, so it is none by itself.
RUN install -d -m 0700 -o 10001 -g 10001 /var/lib/mitmproxy /var/cache/registry-proxy \
    && ln -s /app/mitm.conf /var/lib/mitmproxy/config.yaml
VOLUME /var/lib/mitmproxy
COPY --from=packages /venv /venv
COPY --from=packages /bytecode /bytecode
COPY --from=proxy-code /app /app
COPY --from=proxy-code /bytecode/app /bytecode/app
COPY --from=bill /sbom.cdx.json /usr/share/registry-proxy/sbom.cdx.json
ENV PATH=/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPYCACHEPREFIX=/bytecode PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HOME=/var/lib/mitmproxy CONFDIR=/var/lib/mitmproxy LISTEN_HOST=0.0.0.0
WORKDIR /app
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "\
from http.client import HTTPConnection; \
from os import environ; \
host = environ.get('LISTEN_HOST', '').strip('[]') or '127.0.0.1'; \
proxy = HTTPConnection(host, environ.get('PROXY_PORT') or 8080, timeout=4); \
proxy.request('GET', '/ping'); \
raise SystemExit(proxy.getresponse().status != 200)"]
ARG PYTHON_IMAGE
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="balena registry proxy" \
    org.opencontainers.image.description="Pull balena releases by name with any container client" \
    org.opencontainers.image.licenses="Apache-2.0 AND BSD-2-Clause AND BSD-3-Clause AND LGPL-2.1-only AND LGPL-3.0-or-later AND MIT AND MIT-0 AND MPL-2.0 AND PSF-2.0" \
    org.opencontainers.image.base.name="${PYTHON_IMAGE}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
# It runs mitmdump in its own process, which takes SIGTERM: transfers go on for GRACE_PERIOD
# seconds. `docker stop` waits for 10 unless it is told to: `--stop-timeout 30`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "registry_proxy"]
CMD ["run"]
