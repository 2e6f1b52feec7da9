"""How long work shows itself while it goes on: bars on a terminal and in a notebook, else lines."""

from taut.display.course import Course
from taut.display.displayed import displayed
from taut.display.listener import Listener

__all__ = ["Course", "Listener", "displayed"]
