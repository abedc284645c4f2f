"""The providers, behind LiteLLM's Router. The only package that imports litellm, and only once a request needs it."""
