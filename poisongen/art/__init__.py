"""The project's own trigger art, as pictures: rendered once and shipped, so that it is the same
everywhere."""
