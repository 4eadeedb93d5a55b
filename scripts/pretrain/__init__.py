"""Pre-training of the tiny models that the package contains; not part of the wheel."""
