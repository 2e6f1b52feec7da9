"""What is not collected: modules whose extra is not installed, and cannot be imported without."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("triton") else ["taut/coding/gpu/*"]
