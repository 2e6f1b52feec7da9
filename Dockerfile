# The core alone: bit-exact and data-free compression, loading, verifying. No compiler, no shell and
# no package manager are left in it: an interpreter, numpy and what they load: about 110 MB.
#
#     docker build -t taut .
#     docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" taut compress model.safetensors
FROM python:3.13-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
    pip install --no-cache-dir --no-compile --prefix /install . && \
    python tools/image/assemble.py /install /image

FROM scratch
COPY --from=build /image /
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["/usr/local/bin/taut"]
