"""The explorer: the whole pool of a step as a map and a table, served on this machine or written as a static folder."""
