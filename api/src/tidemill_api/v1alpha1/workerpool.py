"""`WorkerPool`: the workers that run pipelines, and all that those can reach. A pool is the trust boundary."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import ListKey, Model, Rule
from tidemill_api.v1alpha1._object import AGE, Conditions, Generation, PrinterColumn, Resource, Served, condition
from tidemill_api.v1alpha1._types import Duration, LocalRef, PartName, Quantity, SecretValue, SQLName, null_is_absence
from tidemill_api.v1alpha1.cache import Cache
from tidemill_api.v1alpha1.http_connection import HTTPConnection
from tidemill_api.v1alpha1.lineage import Lineage
from tidemill_api.v1alpha1.python import PythonSettings
from tidemill_api.v1alpha1.scaling import Scaling, ScalingStatus

_QUALIFIED = r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
LabelKey = Annotated[str, Field(pattern=f"^{_QUALIFIED}$", max_length=253)]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]
ResourceName = Annotated[str, Field(pattern=f"^{_QUALIFIED}$", max_length=253)]

Quantities = Annotated[dict[ResourceName, Quantity], Field(max_length=16), null_is_absence()]


class TemporalRef(Model):
    """Which Temporal the pool's workers poll."""

    connection_ref: LocalRef
    """A TemporalConnection of this namespace."""


class ServiceAccountSettings(Model):
    """The pool's ServiceAccount. Its pods get no API token."""

    annotations: Annotated[
        dict[LabelKey, Annotated[str, Field(max_length=4096)]], Field(max_length=32), null_is_absence()
    ] = Field(default_factory=dict)
    """Annotations, for workload identity."""


class LabelSelector(Model):
    """Chooses objects by their labels; empty chooses all."""

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=32), null_is_absence()] = Field(
        default_factory=dict
    )
    """Labels that must be there, with these values."""


class Concurrency(Model):
    """How much one worker does at once."""

    activities: Annotated[int, Field(ge=1, le=200)] = 8
    """Chunks that one worker works on at the same time."""


_S3_URL = r"s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](/[^\x00-\x1f\x7f]*)?"
S3_URL = rf"^{_S3_URL}$"
FILES_URL = rf"^(file:///[^\x00]*|{_S3_URL})$"
Region = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=64)]
Endpoint = Annotated[
    str,
    Field(
        pattern=r"^https?://([A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$",
        max_length=512,
        examples=["http://minio.storage:9000"],
    ),
]


class FilesConnection(Model):
    """A place of files: a folder, or the objects of a bucket below a prefix."""

    url: Annotated[str, Field(pattern=FILES_URL, max_length=1024, examples=["s3://landing/daily/"])]
    """`file:///data/landing/` is a folder of the worker's pod (a volume that `template` mounts); `s3://landing/daily/`
    is a bucket of an S3-compatible store and a prefix in it. Paths of sources are relative to it and can't leave it."""
    secret_ref: LocalRef | None = None
    """For s3: a Secret with `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, for keys that end, `AWS_SESSION_TOKEN`.
    Without it the pods' own identity counts (`serviceAccount.annotations`)."""
    region: Region | None = None
    """For s3: region of the bucket; that of the pods' environment (`AWS_REGION`) if not given, else `us-east-1`."""
    endpoint: Endpoint | None = None
    """For s3: where the store is (MinIO and the like); Amazon's endpoint of the region if not given. Buckets are the
    first part of the path there."""
    access: Literal["Read", "Write"] = "Read"
    """Write: sinks may write files there. Sources may read either way; `artifacts` needs no Write."""

    rules = (
        Rule(
            cel="self.url.startsWith('s3://') || !(has(self.secretRef) || has(self.region) || has(self.endpoint))",
            message="secretRef, region and endpoint have an effect for s3:// only",
            holds=lambda s: s.url.startswith("s3://") or not (s.secret_ref or s.region or s.endpoint),
            field=".url",
        ),
    )


class PostgresPool(Model):
    """The connections that one worker keeps."""

    max_size: Annotated[int, Field(ge=1, le=500)] = 20
    """Most connections that one worker opens to this database."""
    idle_timeout: Duration = "30s"
    """A connection not used for this long is closed."""


class PostgresConnection(Model):
    """A Postgres database."""

    dsn: SecretValue
    """Connection string (`postgresql://user:password@host:5432/database`), in a Secret."""
    schemas: Annotated[tuple[SQLName, ...], Field(min_length=1, max_length=32)] = ("public",)
    """Schemas in which pipelines may read and write, only `public` if not given; Tidemill's own (`tidemill`) never."""
    access: Literal["Read", "Write"] = "Write"
    """Write: sinks may use it. Sources may read either way."""
    pool: PostgresPool = PostgresPool()
    """The connections that one worker keeps."""

    rules = (
        Rule(
            cel="!has(self.schemas) || !self.schemas.exists(s, s == 'tidemill')",
            message="schemas can't list tidemill: that schema is Tidemill's own",
            holds=lambda s: "tidemill" not in s.schemas,
            field=".schemas",
        ),
    )


class Connection(Model):
    """Something that pipelines of this pool can reach, by its name."""

    name: PartName
    """Name by which sources and sinks call it."""
    files: FilesConnection | None = None
    """A place of files."""
    postgres: PostgresConnection | None = None
    """A Postgres database."""
    http: HTTPConnection | None = None
    """A web server: its files, or an API."""

    rules = (
        Rule(
            cel="[has(self.files), has(self.postgres), has(self.http)].filter(x, x).size() == 1",
            message="a connection is exactly one of: files, postgres, http",
            holds=lambda s: [s.files, s.postgres, s.http].count(None) == 2,
        ),
    )


class Metastore(Model):
    """Where runs, slots and dead letters are kept."""

    connection: PartName
    """A postgres connection of this pool with `access: Write`; the tables live in its schema `tidemill`."""


class Artifacts(Model):
    """Where rows are kept that pass from one stage of a run to the next: Parquet files, until the run has ended."""

    connection: PartName
    """A files connection of this pool whose folder all its workers share and may write."""
    path: Annotated[str, Field(min_length=1, max_length=256)] = ".tidemill/"
    """Folder in it, made when it is needed. Nothing else should be kept there."""

    rules = (
        Rule(
            cel="!has(self.path) || !self.path.startsWith('/') && !self.path.split('/').exists(p, p == '..')",
            message="path must be relative and stay below the connection's folder: no leading slash, no '..'",
            holds=lambda s: not s.path.startswith("/") and ".." not in s.path.split("/"),
            field=".path",
        ),
    )


CIDR = Annotated[str, Field(pattern=r"^[0-9A-Fa-f:.]{2,45}/[0-9]{1,3}$", max_length=49, examples=["10.20.0.0/16"])]
Port = Annotated[int, Field(ge=1, le=65535)]


class PodPeer(Model):
    """Pods that workers may connect to."""

    namespaces: LabelSelector | None = None
    """In namespaces with these labels; in the pool's own if not given."""
    pods: LabelSelector = LabelSelector()
    """Pods with these labels; all if not given."""
    ports: Annotated[tuple[Port, ...], Field(max_length=16)] = ()
    """Ports of the pods (not of a Service before them), TCP; all if not given."""


class Egress(Model):
    """Where workers may connect to, besides DNS and the pool's Temporal: nowhere else."""

    cidrs: Annotated[tuple[CIDR, ...], Field(max_length=64)] = ()
    """Addresses as CIDR: `10.20.0.0/16`, `192.0.2.7/32`. Private ones must be listed like any other.

    A wide range doesn't open link-local addresses and clouds' metadata services that it contains: they are listed by
    themselves.
    """
    pods: Annotated[tuple[PodPeer, ...], Field(max_length=32)] = ()
    """Pods of the cluster, by their labels."""


class WorkerPoolSpec(Model):
    """The workers and all that their pipelines can reach."""

    image: Annotated[str, Field(pattern=r"^[!-~]+$", max_length=512)] | None = None
    """Image of the workers; the operator's default if not given."""
    temporal: TemporalRef | None = None
    """Which Temporal; the operator's own if not given."""
    service_account: ServiceAccountSettings = ServiceAccountSettings()
    """The pool's ServiceAccount."""
    allowed_pipelines: LabelSelector = LabelSelector()
    """Which pipelines of this namespace may use the pool; all if not given."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Number of workers; `kubectl scale` and autoscalers write it through the scale subresource. With
    `scaling.scaler: BuiltIn` (and `mode: Active`) it is never written and has no effect."""
    scaling: Scaling | None = None
    """How the number of workers follows the work. If not given, `replicas` is the number."""
    concurrency: Concurrency = Concurrency()
    """How much one worker does at once."""
    resources: Annotated[dict[Literal["requests", "limits"], Quantities], null_is_absence("requests", "limits")] = (
        Field(default={"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}})
    )
    """Requests and limits of a worker's container, as in a pod."""
    connections: Annotated[tuple[Connection, ...], Field(min_length=1, max_length=64), ListKey("name")]
    """All that pipelines of this pool can reach."""
    metastore: Metastore
    """Where runs, slots and dead letters are kept."""
    artifacts: Artifacts | None = None
    """Where rows pass from one stage of a run to the next. Needed by pipelines with a step that needs all rows (an
    aggregate, say)."""
    cache: Cache | None = None
    """Where answers are kept that needn't be asked for again; nowhere if not given."""
    python: PythonSettings | None = None
    """Python that pipelines of this pool may run; none if not given."""
    lineage: Lineage | None = None
    """Where it is told what runs read and write; nowhere if not given."""
    egress: Egress | None = None
    """Where workers may connect to, held by a NetworkPolicy. If not given: anywhere but link-local addresses and
    clouds' metadata services."""
    template: dict[str, Any] = Field(default_factory=dict)
    """A pod template laid over Tidemill's: nodeSelector, tolerations, affinity, volumes, mounts, env, labels,
    annotations. Checked by a dry-run apply."""
    deletion_policy: Literal["Wait", "Cancel"] = "Wait"
    """When the pool is deleted: Wait for open runs and for pipelines that use it, or Cancel the runs."""

    rules = (
        Rule(
            cel="self.connections.exists(c, c.name == self.metastore.connection && has(c.postgres) "
            "&& (!has(c.postgres.access) || c.postgres.access == 'Write'))",
            message="metastore.connection must name a postgres connection of this pool with access: Write",
            holds=lambda s: any(
                c.name == s.metastore.connection and c.postgres is not None and c.postgres.access == "Write"
                for c in s.connections
            ),
            field=".metastore",
        ),
        Rule(
            cel="!has(self.artifacts) || self.connections.exists(c, c.name == self.artifacts.connection "
            "&& has(c.files))",
            message="artifacts.connection must name a files connection of this pool",
            holds=lambda s: (
                s.artifacts is None
                or any(c.name == s.artifacts.connection and c.files is not None for c in s.connections)
            ),
            field=".artifacts",
        ),
        Rule(
            cel="!has(self.lineage) || self.connections.exists(c, c.name == self.lineage.http.connection "
            "&& has(c.http))",
            message="lineage.http.connection must name an http connection of this pool",
            holds=lambda s: (
                s.lineage is None
                or any(c.name == s.lineage.http.connection and c.http is not None for c in s.connections)
            ),
            field=".lineage",
        ),
    )


class WorkerPoolStatus(Model):
    """What the operator saw of the pool."""

    observed_generation: Generation | None = None
    """The generation that this status speaks of."""
    conditions: Conditions = ()
    """Ready, and Reconciling or Stalled while they are true."""
    replicas: Annotated[int, Field(ge=0)] | None = None
    """Workers there are."""
    ready_replicas: Annotated[int, Field(ge=0)] | None = None
    """Workers that are ready."""
    desired_replicas: Annotated[int, Field(ge=0)] | None = None
    """Workers that there should be: `spec.replicas`, or what scaling came to."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of the workers' pods, for autoscalers."""
    task_queue: Annotated[str, Field(max_length=1000)] | None = None
    """Temporal task queue that the workers poll."""
    pipelines: Annotated[int, Field(ge=0)] | None = None
    """Pipelines that use the pool."""
    scaling: ScalingStatus | None = None
    """What scaling sees and decides; only where `spec.scaling` has a scaler."""


class WorkerPool(Resource):
    """Workers that run pipelines, and all that those pipelines can reach."""

    served = Served(
        plural="workerpools",
        short_name="wpool",
        scale=True,
        columns=(
            PrinterColumn("Ready", condition("Ready", "status")),
            PrinterColumn("Wished", ".status.desiredReplicas", "integer"),
            PrinterColumn("Workers", ".status.readyReplicas", "integer"),
            PrinterColumn("Pipelines", ".status.pipelines", "integer"),
            AGE,
            PrinterColumn("Scaling", ".status.scaling.reason", wide=True),
            PrinterColumn("Backlog", ".status.scaling.backlog", "integer", wide=True),
            PrinterColumn("Busy", ".status.scaling.busySlots", "integer", wide=True),
            PrinterColumn("Image", ".spec.image", wide=True),
            PrinterColumn("Message", condition("Ready", "message"), wide=True),
        ),
    )

    api_version: Literal["tidemill.dev/v1alpha1"] = "tidemill.dev/v1alpha1"
    kind: Literal["WorkerPool"] = "WorkerPool"
    spec: WorkerPoolSpec
    """The workers and all that their pipelines can reach."""

    rules = (
        Rule(
            cel="size(self.metadata.name) <= 63",
            message="a pool's name labels its pods and so has at most 63 characters",
            holds=lambda s: len(s.metadata.name) <= 63,
            field=".metadata.name",
        ),
    )

    status: WorkerPoolStatus | None = None
    """What the operator saw."""
