"""The demo: a small real stream of instruction datasets, and a tiny pre-trained vision-language model to run it on."""
