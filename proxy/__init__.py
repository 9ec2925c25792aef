"""Crossfade: a dual-write cutover proxy from DynamoDB to Aurora DSQL."""
