"""What a page with a model costs: bytes and time to the first answer over a slow line."""
