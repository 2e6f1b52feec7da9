"""GGUF: the file that llama.cpp and its kin read."""
