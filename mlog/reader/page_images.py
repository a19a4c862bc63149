"""The images on the page of a run: which are shown, and what they are called.

A file that is a link, or lies outside of the run's folder, is not opened.
"""

import base64
from pathlib import Path

from mlog.folder import read_from
from mlog.reader.page_facts import Pictures
from mlog.reader.state import Artifact, RunState

__all__ = ["content_of", "images_of"]

_MAX_IMAGES = 6
_MAX_IMAGE = 200_000  # bytes of one image
_ALL_IMAGES = 380_000  # bytes of all, so that the page stays below 1 MB
_MAGIC = (
    ("image/png", b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", b"\xff\xd8\xff"),
    ("image/gif", b"GIF8"),
)


def images_of(state: RunState, pictures: Pictures) -> list[tuple[str, str]]:
    """Return captions of some small images, and their content as `data:` URLs."""
    left = _ALL_IMAGES
    found: dict[str, str] = {}
    for artifact in _by_weight(state, pictures):
        if len(found) == _MAX_IMAGES:
            break
        if artifact.size > left:
            continue
        content = content_of(state.folder, artifact)
        kind = _image_type(content)
        if content and kind and len(content) <= min(left, _MAX_IMAGE):
            left -= len(content)
            encoded = base64.b64encode(content).decode()
            found[artifact.path] = f"data:{kind};base64,{encoded}"
    shown = (path for path in state.artifacts if path in found)
    return [(_caption(path, pictures), found[path]) for path in shown]


def _by_weight(state: RunState, pictures: Pictures) -> list[Artifact]:
    """Return the images: the last of each name, other files, then earlier pictures."""
    images = [a for a in state.artifacts.values() if a.media_type.startswith("image/")]
    last = {*{name: path for path, (name, _) in pictures.items()}.values()}
    earlier = pictures.keys() - last
    return [
        *(one for one in images if one.path in last),
        *(one for one in images if one.path not in pictures),
        *(one for one in reversed(images) if one.path in earlier),
    ]


def _caption(path: str, pictures: Pictures) -> str:
    """Return what a picture was logged as; of any other file its path."""
    name, step = pictures.get(path, (path, None))
    return name if step is None else f"{name}, step {step}"


def content_of(folder: Path, artifact: Artifact) -> bytes:
    """Return a small artifact; b"" when it cannot be read, or is no file of the run."""
    base = folder / "artifacts"
    path = base / artifact.path
    try:
        if path.resolve() != base.resolve() / artifact.path:  # a link, or `..`
            return b""
        with read_from(path) as file:
            return file.read(_MAX_IMAGE + 1)
    except (OSError, ValueError, RuntimeError):
        return b""


def _image_type(content: bytes) -> str:
    """Return the media type of an image by its beginning; "" for what is none.

    An SVG is inert as an image: browsers run no script in it and load nothing for it.
    """
    for kind, magic in _MAGIC:
        if content.startswith(magic):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    head = content[:1_000].lstrip(b"\xef\xbb\xbf \t\r\n")
    is_svg = head.startswith((b"<svg", b"<?xml", b"<!--", b"<!DOCTYPE svg"))
    return "image/svg+xml" if is_svg and b"<svg" in content[:4_000] else ""
