"""What a task of Sluice reads and leaves. Uses the standard library only; every file it names is the task's own."""

import json
import logging
import os
import re
import sys
from datetime import datetime

RETURN_VALUE = "return_value"


def _read(variable):
    with open(os.environ[variable], encoding="utf-8") as file:
        return json.load(file)


def params():
    """The run's params, with their defaults, as a dict."""
    return _read("SLUICE_PARAMS")


def conf():
    """What the run was triggered with, as a dict."""
    return _read("SLUICE_CONF")


def logical_date():
    """The moment that the run is about, as a datetime in UTC."""
    return _time("SLUICE_LOGICAL_DATE")


def interval():
    """The time that the run is about, as two datetimes in UTC; both are the same where it is about none."""
    return _time("SLUICE_INTERVAL_START"), _time("SLUICE_INTERVAL_END")


def _time(variable):
    # Before 3.11, fromisoformat does not know the Z.
    return datetime.fromisoformat(os.environ[variable].replace("Z", "+00:00"))


def inputs():
    """The outputs of the tasks in dependsOn, by task id."""
    return _read("SLUICE_INPUTS")


def pull(task_id, key=RETURN_VALUE, default=None):
    """What a task in dependsOn left under a key, or its output without one; `default` when there is none."""
    if key == RETURN_VALUE:
        return inputs().get(task_id, default)
    return _read("SLUICE_XCOMS").get(task_id, {}).get(key, default)


def push(key, value):
    """Leaves a value (anything JSON has) under a key; it is kept when the task ends well."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", key):
        raise ValueError(f"{key!r} is not the key of an XCom: a letter and then up to 63 letters, digits, _ or -")
    line = json.dumps({key: value}, allow_nan=False)
    with open(os.environ["SLUICE_XCOM_PUSH"], "a", encoding="utf-8") as file:
        file.write(line + "\n")


def output(value):
    """Leaves the task's output; the last one counts."""
    _write(os.environ["SLUICE_OUTPUT"], value)


def _write(path, value):
    # allow_nan=False: JSON has no NaN, and the database refuses it.
    text = json.dumps(value, allow_nan=False)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


class _Lines(logging.Formatter):
    """The level first, and every further line indented: it goes on with the first and has its level."""

    LEVELS = ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO"))

    def format(self, record):
        level = next((name for least, name in self.LEVELS if record.levelno >= least), "DEBUG")
        source = "" if record.name in ("root", "sluice") else record.name + ": "
        return f"{level} {source}" + "\n  ".join(super().format(record).splitlines())


handler = logging.StreamHandler(sys.stderr)
"""For `logging.basicConfig(handlers=[sluice.handler])`: what all loggers say arrives with its level."""
handler.setFormatter(_Lines())

logger = logging.getLogger("sluice")
"""A logger that needs no setting up."""
logger.setLevel(logging.DEBUG)
logger.propagate = False
logger.addHandler(handler)
