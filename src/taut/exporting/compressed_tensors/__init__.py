"""compressed-tensors: packed integers in safetensors, with a config that loaders know."""
