"""LiteRT: the .tflite files that phones and boards run, weights and activations in 8 bits."""
