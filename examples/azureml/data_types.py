"""Log a value of every type that a run takes.

Written for the Azure ML SDK v1. Run it as it is:

    python -m mlog.azureml data_types.py
"""

import io
import json
import struct
import zlib

import numpy as np
from azureml.core import Run
from azureml.widgets import RunDetails

run = Run.get_context()

# Scalars and texts.
run.log("accuracy", 0.95)
for step, loss in enumerate([0.9, 0.5, 0.3]):
    run.log("loss", loss, step=step)
run.log("count", np.int64(12345678901234567))
run.log("verdict", "good", description="a text")

# Lists, rows and tables.
run.log_list("fibonacci", [1, 1, 2, 3, 5, 8])
for angle in (0.0, 0.5, 1.0):
    run.log_row("sine", angle=angle, sine=float(np.sin(angle)))
run.log_table("cosine", {"angle": [0.0, 0.5, 1.0], "cosine": [1.0, 0.88, 0.54]})


def grey_png(rows):
    """Return a picture as PNG: rows of numbers from 0 to 255."""

    def chunk(kind, data):
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    lines = b"".join(b"\0" + bytes(row) for row in rows)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


with open("ramp.png", "wb") as file:
    file.write(grey_png([range(0, 256, 4)] * 16))
run.log_image("ramp", path="ramp.png", description="from black to white")

# Charts, in the service's own JSON.
run.log_confusion_matrix(
    "confusion",
    {
        "schema_type": "confusion_matrix",
        "schema_version": "1.0.0",
        "data": {"class_labels": ["cat", "dog"], "matrix": [[8, 2], [1, 9]]},
    },
)
run.log_accuracy_table(
    "accuracy table",
    {
        "schema_type": "accuracy_table",
        "schema_version": "1.0.1",
        "data": {
            "probability_tables": [[[5, 5, 0, 0], [4, 1, 4, 1], [0, 0, 5, 5]]],
            "percentile_tables": [[[5, 5, 0, 0], [4, 1, 4, 1], [0, 0, 5, 5]]],
            "probability_thresholds": [0.0, 0.5, 1.0],
            "percentile_thresholds": [0.0, 0.5, 1.0],
            "class_labels": ["cat"],
        },
    },
)
run.log_residuals(
    "residuals",
    json.dumps(
        {
            "schema_type": "residuals",
            "schema_version": "1.0.0",
            "data": {"bin_edges": [-1.0, 0.0, 1.0], "bin_counts": [12, 9]},
        }
    ),
)
run.log_predictions(
    "predictions",
    {
        "schema_type": "predictions",
        "schema_version": "1.0.0",
        "data": {
            "bin_averages": [0.2, 0.7],
            "bin_errors": [0.05, 0.1],
            "bin_counts": [11, 10],
            "bin_edges": [0.0, 0.5, 1.0],
        },
    },
)

# Tags, properties and files.
run.tag("owner", "me")
run.set_tags({"stage": "demo"})
run.add_properties({"author": "me"})
run.upload_file("notes/hello.txt", io.BytesIO(b"hello\n"))

metrics = run.get_metrics()
for name in sorted(metrics):
    print(f"{name}: {metrics[name]}")
print(run.get_file_names())
RunDetails(run).show()
run.complete()
