"""The pictures of the guide, drawn from what its pages compute."""
