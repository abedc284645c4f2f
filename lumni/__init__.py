"""Lumni: an OpenAI-compatible LLM gateway for teaching AI engineering."""

__version__ = "0.1.0"
