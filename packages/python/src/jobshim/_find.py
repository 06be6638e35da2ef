"""Where the programs are, and how to become one of them."""

from __future__ import annotations

import os
import signal
import sys
import sysconfig
from typing import Iterator, NoReturn

from ._errors import JobshimError


def jobshim_path() -> str:
    """The path of the program jobshim."""
    return _path("jobshim")


def jobctl_path() -> str:
    """The path of the program jobctl."""
    return _path("jobctl")


def _path(name: str) -> str:
    directories = list(_directories())
    for directory in directories:
        path = os.path.abspath(os.path.join(directory, name))
        if os.path.isfile(path):
            return path
    raise JobshimError(f"{name}: not found in {', '.join(dict.fromkeys(directories))}")


def _directories() -> Iterator[str]:
    # For tests, and for whoever builds the programs himself: look nowhere else.
    own = os.environ.get("JOBSHIM_BINARY_DIR")
    if own:
        yield own
        return
    yield sysconfig.get_path("scripts")
    # A virtual environment that sees the packages of the Python it was made with.
    yield sysconfig.get_path("scripts", vars={"base": sys.base_prefix})
    if sys.version_info >= (3, 10):
        yield sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"))
    else:
        yield sysconfig.get_path("scripts", "posix_user")
    package = os.path.dirname(os.path.abspath(__file__))
    # pip install --prefix: PREFIX/lib/pythonX.Y/site-packages/jobshim
    yield os.path.join(os.path.abspath(os.path.join(package, *[os.pardir] * 4)), "bin")
    # pip install --target: TARGET/jobshim
    yield os.path.join(os.path.dirname(package), "bin")


def become(name: str) -> NoReturn:
    """Execute the program in place of this process, with this process's arguments."""
    try:
        path = _path(name)
        # Python ignores these two, and the worker would inherit that.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        os.execv(path, [name, *sys.argv[1:]])
    except (JobshimError, OSError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        sys.exit(125)
