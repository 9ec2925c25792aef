"""Traces by OpenTelemetry: which spans there are, what they may say, and how they leave the process.

The only room that knows OpenTelemetry. The others see it through two seams, `proxy.shadow.instrumentation` (the layer's
parts) and `proxy.tracing.setup` (the process's), and only where tracing is on."""
