"""No test reads or writes the user's own state folder."""

import os
import tempfile

_STATE = tempfile.TemporaryDirectory(prefix="privgen-state-")
os.environ["PRIVGEN_STATE"] = _STATE.name
