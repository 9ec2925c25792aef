"""Other projects' suites of DynamoDB, run unchanged against Crossfade."""
