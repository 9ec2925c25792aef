"""Grafana's dashboards as code, and Prometheus's rules beside them. Not part of the product: it imports none of it."""
