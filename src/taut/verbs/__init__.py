"""The verbs, a file each. `taut` hands them on, and imports each when it is first used."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taut.verbs.analyze import analyze as analyze
    from taut.verbs.compress import compress as compress
    from taut.verbs.decompress import decompress as decompress
    from taut.verbs.diff import diff as diff
    from taut.verbs.evaluate import evaluate as evaluate
    from taut.verbs.export import export as export
    from taut.verbs.frontier import frontier as frontier
    from taut.verbs.info import info as info
    from taut.verbs.load import load as load
    from taut.verbs.load_file import load_file as load_file
    from taut.verbs.plan import plan as plan
    from taut.verbs.push import push as push
    from taut.verbs.report import report as report
    from taut.verbs.save_file import save_file as save_file
    from taut.verbs.verify import verify as verify
