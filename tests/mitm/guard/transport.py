"""A connection to a client who takes as much as a test says."""

import asyncio


class Transport(asyncio.WriteTransport):
    """A connection, and how much of what it was given nobody has taken."""

    def __init__(self, unsent: int = 0) -> None:
        super().__init__()
        self.unsent = unsent
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        """Return what is still to be sent."""
        return self.unsent

    def abort(self) -> None:
        """Take note."""
        self.is_aborted = True

    def is_closing(self) -> bool:
        """Return that there is nothing left to close."""
        return True
