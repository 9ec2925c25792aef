"""What Crossfade needs in AWS, as a CDK app: `cdk deploy` from this folder, or `python -m deploy.app` to look at it."""
