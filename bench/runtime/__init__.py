"""What runs a compressed model: exports, .onnx sources and layers decoded on demand."""
