"""Reading data files as samples and writing samples to files; one module per format (see `conversation.Format`)."""

from adaptinf.formats.conversation import BadRow, Conversation, Format, Place, Turn
from adaptinf.formats.reading import read
from adaptinf.formats.writing import write

__all__ = ["BadRow", "Conversation", "Format", "Place", "Turn", "read", "write"]
