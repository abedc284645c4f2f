"""The lab: a keyless, offline, deterministic stand-in for model providers, inside LiteLLM or as an HTTP server."""
