"""Core ML: packages for Apple's systems, written anywhere, and run by those alone."""
