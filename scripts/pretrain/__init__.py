"""Makes the tiny models that the package ships; not part of the wheel."""
