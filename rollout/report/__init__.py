"""The release-gate report: `build` makes it of raw files, `write` renders it, `verify` redoes it."""
