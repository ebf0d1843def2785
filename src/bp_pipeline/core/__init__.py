"""The mathematics: arrays in, arrays out; no files, no config, no logging."""
