"""Images, files or bytes: whether one can be read, its size, and its pixels as the model gets them."""

from adaptinf.images.opening import (
    LARGEST_LIMIT,
    MAX_PIXELS,
    Examined,
    examine,
    image_problem,
    open_image,
    open_stored,
    size_of,
)
from adaptinf.images.stored import StoredImage, Unopened

__all__ = [
    "LARGEST_LIMIT",
    "MAX_PIXELS",
    "Examined",
    "StoredImage",
    "Unopened",
    "examine",
    "image_problem",
    "open_image",
    "open_stored",
    "size_of",
]
