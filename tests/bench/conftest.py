"""The bench is imported as it is run: from the root of the repository, which installs nothing."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
