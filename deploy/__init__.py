"""What Maum is run on and beside: the development broker, containers, dashboards and alerts."""
