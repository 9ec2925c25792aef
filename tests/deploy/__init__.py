"""The CDK app, the Kubernetes manifests and the workflows: what can be held against what the product really needs."""
