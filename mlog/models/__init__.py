"""Registered models: versions of files under a name, copied and never changed again.

    <root>/.models/<name>/<version>/
      .lock         claims the number, by being created exclusively; stays for ever
      files/…       the model, under the names it was registered with
      model.json    everything else; put there last, so without it there is no model

Invariants:

- A number is given once: also a deleted or half-written version keeps its own.
- Files are copies, whole and on the disk before `model.json` is; they carry their
  SHA-256. A killed registration leaves a folder without `model.json`, which nobody
  sees. Any number of processes may register at the same time.
- Only tags, description and new properties change later, as a whole and under a lock.
"""

from mlog.models.model import Model, Wanted, get, models
from mlog.models.registering import Opener, register
from mlog.models.storage import ModelFile

__all__ = ["Model", "ModelFile", "Opener", "Wanted", "get", "models", "register"]
