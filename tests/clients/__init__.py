"""Whole clients, unchanged, in every stage: what they are answered is what DynamoDB answers."""
