"""What tests share: real brokers, a real API server, the installed system, a tenant's client."""
