"""The virtual camera with a real driver: what is sent can be read through V4L2, as it was sent.

Not among the usual tests: `python start.py test -m vcam -s`, which shows the figures. Takes minutes; needs Debian's
packages, which it fetches with apt, and gcc.
"""

from __future__ import annotations

import faulthandler
import json
import sys
from pathlib import Path

import pytest
from machine import Machine

INSIDE = Path(__file__).with_name("inside.py")


@pytest.mark.vcam
def test_what_is_sent_is_read_back_through_v4l2(pytestconfig: pytest.Config) -> None:
    faulthandler.cancel_dump_traceback_later()  # it is for tests that hang
    machine = Machine(pytestconfig.cache.mkdir("vcam"))
    said = machine.run(sys.executable, str(INSIDE), str(machine.module))
    lines = [line.removeprefix("REPORT ") for line in said.splitlines() if line.startswith("REPORT ")]
    assert lines, said
    report = json.loads(lines[-1])
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    assert "v4l2loopback is not" in report["before"]
    assert report["loaded"] == report["device"] == report["after"] == "/dev/video10"
    assert report["again"] == report["after_crash"] == "/dev/video10"
    assert report["held"].startswith("/dev/video10 is in use by python")
    assert report["free"] == "/dev/video11"
    assert report["format"].startswith("YU12:1280x720")
    assert report["size"] == [1280, 720]
    assert report["splash_error"] < 2
    assert report["silence_error"] < 2
    assert report["colour_error"] < 3
    assert report["greys"] > 20
    assert (report["torn"], report["out_of_order"], report["wrong"]) == (0, 0, 0)
    assert 0 < report["fps"] < 31
