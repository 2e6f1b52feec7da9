"""The lock: all that the project asks for is pinned, so a new release turns no old tree red."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11.0", "3.12.0", "3.13.0")
SYSTEMS = ("linux", "darwin", "win32")
# Their packages want older ones than all else does: environments of their own have them, at the
# versions of bench/clients/pins.toml.
APART = {"litert", "executorch", "coreml"}


def requirements(path: Path) -> list[Requirement]:
    """The lines of a requirements file without its comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = [re.sub(r"(^|\s+)#.*", "", line) for line in lines]
    return [Requirement(line) for line in lines if line]


def asked_for() -> list[Requirement]:
    """What the package, its extras, its build and constraints.in ask for, itself left out."""
    file = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = file["project"]
    texts = [*project["dependencies"], *file["build-system"]["requires"]]
    extras = project["optional-dependencies"]
    texts += [text for name in extras.keys() - APART for text in extras[name]]
    found = [Requirement(text) for text in texts] + requirements(ROOT / "constraints.in")
    return [requirement for requirement in found if requirement.name != project["name"]]


def place_of(python: str, system: str) -> dict[str, str]:
    """What markers ask of a machine."""
    return {"python_full_version": python, "python_version": python[:4], "sys_platform": system}


def pinned(name: str, python: str, system: str) -> list[str]:
    """The versions that the lock gives a package on one Python and system: one, if all is well."""
    place = place_of(python, system)
    return [
        next(iter(pin.specifier)).version
        for pin in requirements(ROOT / "constraints.txt")
        if canonicalize_name(pin.name) == canonicalize_name(name)
        and (pin.marker is None or pin.marker.evaluate(place))
    ]


def test_everything_asked_for_has_one_pin_that_satisfies_it_everywhere():
    faults = [
        f"{requirement} on Python {python}, {system}: {versions}"
        for requirement in asked_for()
        for python in PYTHONS
        for system in SYSTEMS
        if requirement.marker is None or requirement.marker.evaluate(place_of(python, system))
        if len(versions := pinned(requirement.name, python, system)) != 1
        or not requirement.specifier.contains(versions[0], prereleases=True)
    ]
    assert faults == [], "make lock KEEP=1"


def test_the_lock_pins_exactly_and_names_no_place():
    pins = requirements(ROOT / "constraints.txt")
    assert {specifier.operator for pin in pins for specifier in pin.specifier} == {"=="}
    assert [pin.name for pin in pins if len(pin.specifier) != 1 or pin.url] == []
    assert "://" not in (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_what_the_lock_leaves_out_is_tested_apart():
    """Pinned for an environment of its own, which GitHub makes and runs tests in."""
    pins = tomllib.loads((ROOT / "bench" / "clients" / "pins.toml").read_text(encoding="utf-8"))
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    run = re.search(r'make clients INSTALL="([^"]+)" CLIENTS="([^"]+)"', workflow)
    assert run and set(run[1].split()) == set(run[2].split()) == APART
    for name in APART:
        assert [pin for pin in pins[name]["pip"] if "==" not in pin] == []
        assert (ROOT / "tests" / "exporting" / f"test_{name}.py").is_file()
