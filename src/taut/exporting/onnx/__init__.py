"""ONNX: the network traced or its graph given back, its weights on grids that runtimes execute."""
