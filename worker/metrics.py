"""Every metric, with what it means and why its buckets are where they are."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
TOKENS = (16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
RATIO = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75)
# From a cached result (well under 1 ms) to a cluster in trouble.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# End to end: 150 ms is the promise at half load, minutes are a backlog.
AGE = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800)


class Metrics:
    """All metrics of one worker, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.events = Counter(
            "maum_events", "Emotion events decided, by emotion", ["emotion"], registry=registry
        )
        self.records = Counter(
            "maum_records",
            "Input records committed, by outcome: event, withheld, dead_letter, tombstone, gap",
            ["outcome"],
            registry=registry,
        )
        self.dead_letters = Counter(
            "maum_dead_letters", "Dead letters, by reason", ["reason"], registry=registry
        )
        self.review_samples = Counter(
            "maum_review_samples", "Review samples, by reason", ["reason"], registry=registry
        )
        self.batch_rows = Histogram(
            "maum_batch_rows", "Rows a batch", buckets=ROWS, registry=registry
        )
        self.batch_tokens = Histogram(
            "maum_batch_tokens", "Padded tokens a batch", buckets=TOKENS, registry=registry
        )
        self.padding_ratio = Histogram(
            "maum_batch_padding_ratio", "Share of padding", buckets=RATIO, registry=registry
        )
        self.queue_tokens = Gauge(
            "maum_queue_tokens", "Tokens admitted and not yet committed", registry=registry
        )
        self.stage_seconds = Histogram(
            "maum_stage_seconds",
            "Time of a stage, a batch at a time: decode, tokenize, infer, decide, publish",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.end_to_end = Histogram(
            "maum_end_to_end_seconds",
            "From the record's timestamp to its committed result, oldest of a transaction",
            buckets=AGE,
            registry=registry,
        )
        self.lag = Gauge(
            "maum_lag_records",
            "Records behind the end of the log",
            ["topic", "partition"],
            registry=registry,
        )
        self.transactions = Counter(
            "maum_transactions",
            "Transactions (or acknowledged commits), by result: committed, aborted",
            ["result"],
            registry=registry,
        )
        self.cache_lookups = Counter(
            "maum_cache_lookups", "Token sequences looked up", registry=registry
        )
        self.cache_hits = Counter(
            "maum_cache_hits", "Token sequences answered without the model", registry=registry
        )
        self.model_info = Gauge(
            "maum_model_info",
            "1 for the model that serves",
            ["name", "version", "engine", "precision"],
            registry=registry,
        )
        self.model_refusals = Counter(
            "maum_model_refusals", "Promoted models that were refused", registry=registry
        )
        self.ready = Gauge("maum_ready", "1 while /ready answers 200", registry=registry)

    def forget(self, topic: str, partition: int) -> None:
        """A partition was let go: its lag is another worker's to tell."""
        self.lag.remove_by_labels({"topic": topic, "partition": str(partition)})
