"""Names, labels, ids and hashes: every string by which the parts find each other's things."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final

GROUP: Final = "tidemill.dev"
FIELD_MANAGER: Final = "tidemill"
FINALIZER: Final = "tidemill.dev/finalizer"

ANNOTATION_PAUSED: Final = "tidemill.dev/paused"
"""On a DataPipeline: a person's pause; the value is the reason."""
ANNOTATION_CANCEL: Final = "tidemill.dev/cancel"
"""On a DataPipelineRun: it is asked to stop, or never starts; the value is the reason. On a DataPipeline: its open runs
with these keys, set apart by commas, are asked to stop."""
ANNOTATION_RELEASE: Final = "tidemill.dev/release"
"""On an object that is being deleted while Temporal is out of reach: `"true"` lets it go without cleaning up there."""
ANNOTATION_ADOPT: Final = "tidemill.dev/adopt-uid"
"""On a DataPipeline: uid of its former self (before a restored backup), whose Schedule it takes over."""
ANNOTATION_INSTALLATION: Final = "tidemill.dev/installation"
"""On an object that several installations could look after: the id of the one that does."""

LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_POOL: Final = "tidemill.dev/pool"

WORKFLOW: Final = "DataPipelineRun"
"""The workflow type of every run."""
BACKFILL_WORKFLOW: Final = "DataPipelineBackfill"
"""The workflow type of backfills, which start runs."""
REPORT_WORKFLOW: Final = "DataPipelineReport"
"""The workflow type by which others are told what a run came to; a run starts it when it ends."""

CONFIG_DIR: Final = "/etc/tidemill"
CONFIG_FILE: Final = "worker.json"
"""Key in the pool's ConfigMap, and name of the file below CONFIG_DIR."""
SECRETS_DIR: Final = "/etc/tidemill/secrets"
"""Each Secret of the pool is a folder here, each of its keys a file."""
WHOLE_SECRETS_DIR: Final = "/etc/tidemill-secrets"
"""As SECRETS_DIR, for Secrets whose keys nobody knows before: a volume each, since no list of keys names its files."""
KEYS_DIR: Final = "/etc/tidemill-keys"
"""The key ring of the encryption, if there is one."""
KEYS_VARIABLE: Final = "TIDEMILL_ENCRYPTION_KEYS"
"""Environment variable of workers: the folder of the key ring. Without it nothing is encrypted."""
SETTLE_VARIABLE: Final = "TIDEMILL_ENCRYPTION_SETTLE"
"""Environment variable of workers: how many seconds after it was seen first a new key writes."""
POD_VARIABLE: Final = "POD_NAME"
"""Environment variable of workers: the name of their pod, by which Temporal lists them."""


@dataclass(frozen=True, slots=True)
class PipelineId:
    """A pipeline in the world of one installation; its parts can't hold a slash, so the ids can't collide."""

    installation: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.installation}/{self.namespace}/{self.name}"

    @property
    def schedule(self) -> str:
        """Id of the Temporal Schedule."""
        return str(self)

    @property
    def scheduled_workflow(self) -> str:
        """Workflow id of scheduled runs; Temporal appends the nominal time (`...-2026-01-01T00:00:00Z`)."""
        return f"{self}/scheduled"

    def scheduled_run(self, nominal: str) -> str:
        """Workflow id of the run for a nominal time, whether the Schedule starts it or a backfill."""
        return f"{self.scheduled_workflow}-{nominal}"

    def workflow(self, run: str) -> str:
        """Workflow id of the DataPipelineRun named `run`."""
        return f"{self}/{run}"


def report_of(workflow_id: str, execution: int, about: str) -> str:
    """Workflow id of the report on an execution of a run: it has one part more, so that it isn't taken for a run's."""
    return f"{workflow_id}/{execution}-{about}"


def pipeline_of_workflow(workflow_id: str) -> PipelineId | None:
    """Whose run a workflow id is, or None if it isn't of ours."""
    parts = workflow_id.split("/")
    return PipelineId(*parts[:3]) if len(parts) == 4 and all(parts) else None


S3_ACCESS_KEY: Final = "AWS_ACCESS_KEY_ID"
S3_SECRET_KEY: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the name of one
S3_SESSION_TOKEN: Final = "AWS_SESSION_TOKEN"  # noqa: S105 - the name of one
"""Keys of the Secret of an object store, and variables of its clients; the last one needn't be there."""


def task_queue(installation: str, namespace: str, pool: str) -> str:
    """The Temporal task queue that a pool's workers poll."""
    return f"{installation}/{namespace}/{pool}"


def pool_child(pool: str) -> str:
    """Name of a pool's Deployment, ServiceAccount and ConfigMap: a DNS label of at most 63 characters."""
    name = f"{pool}-worker".replace(".", "-")
    if len(name) <= 63 and "." not in pool:
        return name
    return f"{name[:52].rstrip('-')}-{content_hash(pool)[:10]}"


def content_hash(value: object) -> str:
    """SHA-256 (hex) of a value as canonical JSON: the same for equal values, whatever their order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
