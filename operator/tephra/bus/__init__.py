"""The bus: topics, messages and roles (pure), the ordered stream (pure), and the MQTT client (I/O)."""
