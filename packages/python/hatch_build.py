"""Adds the programs and the licences to the wheel, and says which machine it is for (see make.sh)."""

import os
from typing import Any, Dict

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    def initialize(self, version: str, build_data: Dict[str, Any]) -> None:
        machine = os.environ["JOBSHIM_MACHINE"]
        # The programs are static, so they run with either C library.
        build_data["tag"] = f"py3-none-manylinux_2_17_{machine}.musllinux_1_1_{machine}"
        build_data["pure_python"] = False
        wheel = f"jobshim-{self.metadata.version}"
        for source, target in ("bin", "data/scripts"), ("licences", "dist-info/licenses"):
            build_data["force_include"][os.path.join(self.root, source)] = f"{wheel}.{target}"
