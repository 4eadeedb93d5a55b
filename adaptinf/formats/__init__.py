"""Files to samples and back; one file a format, each a plug-in (see `conversation.Format`)."""

from adaptinf.formats.conversation import BadRow, Conversation, Format, Place, Turn
from adaptinf.formats.reading import read
from adaptinf.formats.writing import write

__all__ = ["BadRow", "Conversation", "Format", "Place", "Turn", "read", "write"]
