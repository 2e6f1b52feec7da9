"""ExecuTorch: the .pte files that PyTorch runs on phones, with XNNPACK's kernels."""
