"""The service: holds clients' connections and sends to them what the REST API says."""
