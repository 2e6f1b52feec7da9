"""Lossless coding beside its peers."""
