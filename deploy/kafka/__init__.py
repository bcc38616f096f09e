"""Apache Kafka itself, from its published jars: three brokers in KRaft mode, for tests."""
