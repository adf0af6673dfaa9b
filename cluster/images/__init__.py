"""Images without a container engine: Debian packages, Python wheels and our own code to OCI archives."""
