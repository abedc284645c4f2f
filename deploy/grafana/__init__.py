"""Dashboards, made by ``build``."""
