"""What runs beside Lumni: Prometheus, Grafana."""
