"""Write what a new home is made from, and which Hermes Agent this is. Runs when the image
is built.

    write-seed.py directory
"""

import importlib.metadata
import sys
from pathlib import Path

from hermes_cli.config import DEFAULT_CONFIG
from hermes_cli.default_soul import DEFAULT_SOUL_MD

into = Path(sys.argv[1])
(into / "client-version").write_text(importlib.metadata.version("hermes-agent") + "\n")
(into / "seed/SOUL.md").write_text(DEFAULT_SOUL_MD.strip() + "\n")
with open(into / "seed/config.yaml", "a") as config:
    # A new home is not migrated.
    config.write(f"_config_version: {DEFAULT_CONFIG['_config_version']}\n")
