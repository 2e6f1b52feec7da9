"""Meters that are folders and objects made for the test."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from taut.errors import ArgumentError
from taut.evaluation._nvml import Sampled
from taut.evaluation.energy import Instruments, measure_energy

RANGE = 262_143_328_850


def zone(powercap: Path, folder: str, name: str, energy: int) -> Path:
    place = powercap / folder
    place.mkdir(parents=True)
    (place / "name").write_text(name + "\n")
    (place / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (place / "energy_uj").write_text(f"{energy}\n")
    return place / "energy_uj"


class Work:
    """Calls that take a second each and move meters on."""

    def __init__(self, *moves: Callable[[], None]) -> None:
        self.now, self.calls, self.moves = 0.0, 0, moves

    def __call__(self) -> None:
        self.now += 1.0
        self.calls += 1
        for move in self.moves:
            move()


def spend(meter: Path, microjoules: int) -> Callable[[], None]:
    def move() -> None:
        meter.write_text(str((int(meter.read_text()) + microjoules) % RANGE))

    return move


def test_packages_are_summed_over_their_wraps_and_nothing_is_counted_twice(tmp_path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", RANGE - 5_000_000)  # about to begin again
    second = zone(tmp_path, "intel-rapl:1", "package-1", 7)
    others = [
        zone(tmp_path, "intel-rapl:0:0", "core", 0),
        zone(tmp_path, "intel-rapl:2", "psys", 0),
        zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0),
    ]
    run = Work(spend(first, 4_000_000), spend(second, 500_000), *(spend(o, 10**9) for o in others))
    found = measure_energy(
        run, seconds=3.0, instruments=Instruments(powercap=tmp_path, clock=lambda: run.now)
    )
    assert run.calls == 4  # one to warm up
    assert found.joules == pytest.approx(4.5) and found.source == "rapl"
    assert "2 processor packages" in found.note and "3 calls" in found.note


def test_a_counter_that_wraps_many_times_is_read_at_each_call(tmp_path) -> None:
    meter = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    run = Work(spend(meter, RANGE - 1_000_000))
    found = measure_energy(
        run, seconds=10.0, instruments=Instruments(powercap=tmp_path, clock=lambda: run.now)
    )
    assert found.joules == pytest.approx((RANGE - 1_000_000) / 1e6)


def test_a_counter_that_stands_still_is_no_measurement(tmp_path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 99)
    run = Work()
    found = measure_energy(
        run, seconds=2.0, instruments=Instruments(powercap=tmp_path, clock=lambda: run.now)
    )
    assert found.joules is None and found.source is None and "stood still" in found.note


def test_without_a_meter_nothing_runs_and_the_reason_is_said(tmp_path) -> None:
    run = Work()
    found = measure_energy(run, instruments=Instruments(powercap=tmp_path / "none"))
    assert (found.joules, found.source, run.calls) == (None, None, 0)
    assert found.note.startswith("not measurable here: ") and "RAPL" in found.note
    assert measure_energy(run, instruments=Instruments(powercap=tmp_path)).joules is None


def test_a_meter_that_only_root_may_read_is_told(tmp_path) -> None:
    meter = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    meter.chmod(0)
    try:
        meter.read_text()
    except PermissionError:
        found = measure_energy(Work(), instruments=Instruments(powercap=tmp_path))
        assert found.joules is None and "no permission to read" in found.note
        assert str(meter) in found.note
    else:
        pytest.skip("root reads what nobody may")


def test_a_meter_that_cannot_be_read_is_told(tmp_path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 0).write_text("no number")
    found = measure_energy(Work(), instruments=Instruments(powercap=tmp_path))
    assert found.joules is None and "RAPL cannot be read" in found.note


def test_an_estimate_is_called_one(tmp_path) -> None:
    run = Work()
    found = measure_energy(
        run,
        seconds=4.0,
        watts=5.0,
        instruments=Instruments(
            powercap=tmp_path, clock=lambda: run.now, cpu_clock=lambda: 2.0 * run.now
        ),
    )
    assert found.joules == 2.0 * 5.0 and found.source == "estimate"
    assert "5 W a core" in found.note and "not measurable here" in found.note


def test_a_meter_goes_before_an_estimate(tmp_path) -> None:
    meter = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    run = Work(spend(meter, 3_000_000))
    found = measure_energy(
        run, seconds=1, watts=9.0, instruments=Instruments(powercap=tmp_path, clock=lambda: run.now)
    )
    assert (found.joules, found.source) == (3.0, "rapl")


class Gpu:
    """An NVML of one GPU; `total` is missing on old ones."""

    class NVMLError(Exception):
        """As pynvml's."""

    def __init__(self, total: bool = True, power: int | None = 50_000) -> None:
        self.millijoules, self.total, self.power, self.asked = 1000, total, power, []

    def nvmlInit(self) -> None:  # noqa: N802
        self.asked.append("init")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object:  # noqa: N802
        if index > 1:
            raise self.NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> object:  # noqa: N802
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int:  # noqa: N802
        if not self.total:
            raise self.NVMLError("Not Supported")
        return self.millijoules

    def nvmlDeviceGetPowerUsage(self, handle: object) -> int:  # noqa: N802
        if self.power is None:
            raise self.NVMLError("Not Supported")
        return self.power

    def spend(self) -> None:
        self.millijoules += 250


def test_a_gpu_has_a_counter_of_its_own(tmp_path) -> None:
    gpu = Gpu()
    run = Work(gpu.spend)
    found = measure_energy(
        run, seconds=8, device="cuda:1", instruments=Instruments(nvml=gpu, clock=lambda: run.now)
    )
    assert (found.joules, found.source) == (0.25, "nvml")
    assert "processor not included" in found.note


def test_an_old_gpu_tells_its_power() -> None:
    gpu = Gpu(total=False, power=80_000)
    found = measure_energy(
        lambda: None, seconds=0.05, device="cuda", instruments=Instruments(nvml=gpu)
    )
    assert found.source == "nvml" and "sampled power" in found.note
    assert found.joules is not None and found.joules > 0


def test_power_is_summed_over_time_by_the_trapezoidal_rule() -> None:
    times, powers = iter([0.0, 2.0]), iter([10_000, 30_000])
    meter = Sampled(lambda: next(powers), pause=1e6, clock=lambda: next(times))
    meter.start()
    assert meter.stop() == 2.0 * (10 + 30) / 2


@pytest.mark.parametrize(
    ("gpu", "device", "said"),
    [
        (Gpu(total=False, power=None), "cuda:0", "neither its energy nor its power"),
        (Gpu(), "cuda:7", "NVML finds no GPU: Invalid Argument"),
    ],
)
def test_a_gpu_that_tells_nothing_is_said(gpu: Gpu, device: str, said: str) -> None:
    found = measure_energy(Work(), device=device, instruments=Instruments(nvml=gpu))
    assert found.joules is None and said in found.note


def test_a_run_that_raises_leaves_no_thread_behind() -> None:
    calls = []

    def run() -> None:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("broken")

    before = threading.active_count()
    with pytest.raises(RuntimeError) as caught:
        measure_energy(run, device="cuda", instruments=Instruments(nvml=Gpu(total=False)))
    assert caught.value.args == ("broken",)
    assert threading.active_count() == before


@pytest.mark.parametrize("given", [{"seconds": 0}, {"watts": -1.0}, {"watts": float("nan")}])
def test_numbers_that_make_no_sense_are_refused(given: dict) -> None:
    with pytest.raises(ArgumentError, match=f"energy: {next(iter(given))}"):
        measure_energy(Work(), **given)
