"""Which deployments may be called now, and when."""
