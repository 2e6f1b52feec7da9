# The core alone: bit-exact and data-free compression, loading, verifying. No compiler is left in it.
#
#     docker build -t taut .
#     docker run --rm -v "$PWD:/work" taut compress model.safetensors
FROM python:3.13-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# Bytecode, and what numpy and others carry for their own tests, would be a quarter of the image.
RUN PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
    pip install --no-cache-dir --no-compile --prefix /install . && \
    find /install -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +

FROM python:3.13-slim
COPY --from=build /install /usr/local
RUN useradd --create-home taut
USER taut
WORKDIR /work
ENTRYPOINT ["taut"]
