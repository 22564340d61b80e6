"""The one configuration file: every key, its default, its limits and its meaning.

The file is YAML. It is read once, checked whole and passed down; nothing else reads files or the environment for
settings. `docs/configuration.md` is generated from this module (`neuroscan config reference`).
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neuroscan_core.domain.errors import ConfigurationError

Port = Annotated[int, Field(ge=0, le=65535)]
SequenceName = Literal["T1", "T1ce", "T2", "FLAIR"]
AETitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[ -\[\]-~]+$")]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsConfig(Section):
    """DICOM TLS (PS3.15 B.12: BCP 195)."""

    certificate: Path = Field(description="Certificate chain in PEM that this node shows.")
    key: Path = Field(description="Private key in PEM.")
    ca: Path | None = Field(None, description="Certificates in PEM that the peer's certificate must be signed by.")
    require_peer_certificate: bool = Field(True, description="Refuse a peer without a valid certificate of its own.")


class AllowConfig(Section):
    """Who may send. An empty list allows everyone."""

    calling_ae: tuple[AETitle, ...] = Field((), description="Calling AE titles that may associate.")
    called_ae: tuple[AETitle, ...] = Field((), description="Called AE titles that are answered; empty: any.")
    peers: tuple[str, ...] = Field((), description="Addresses or networks (CIDR) that may connect.")


class LimitsConfig(Section):
    """What one peer may use."""

    max_associations: int = Field(16, ge=1, le=1000, description="Associations at once; more are refused (transient).")
    max_pdu_bytes: int = Field(262144, ge=4096, le=1 << 24, description="Largest PDU that is accepted.")
    max_object_bytes: int = Field(2 << 30, ge=1 << 20, description="Largest object that is accepted.")
    acse_timeout_s: float = Field(30, gt=0, description="Wait for association messages.")
    dimse_timeout_s: float = Field(60, gt=0, description="Wait for the rest of a DIMSE message.")
    network_timeout_s: float = Field(120, gt=0, description="Idle time after which an association is aborted.")


class GatewayConfig(Section):
    """The DICOM storage SCP."""

    ae_title: AETitle = Field("NEUROSCAN", description="AE title of this node.")
    host: str = Field("0.0.0.0", description="Address to listen on.")
    port: Port = Field(11112, description="Port to listen on.")
    allow: AllowConfig = AllowConfig()
    limits: LimitsConfig = LimitsConfig()
    tls: TlsConfig | None = Field(None, description="DICOM TLS; plain TCP where absent.")
    extra_sop_classes: tuple[str, ...] = Field(
        (), description="SOP class UIDs or keywords accepted beside MR and secondary capture."
    )
    min_free_bytes: int = Field(2 << 30, ge=0, description="Free space below which C-STORE answers 0xA700.")
    workers: int = Field(2, ge=1, le=32, description="Threads that decode slices after they were acknowledged.")


class LossyPolicy(str, Enum):
    """What happens to series with lossy compressed pixels."""

    REJECT = "reject"
    ACCEPT = "accept"


class SeriesConfig(Section):
    """When a series is complete, and what makes it unfit."""

    quiet_s: float = Field(10.0, gt=0, description="Silence after which a gapless series is complete, last resort.")
    give_up_s: float = Field(120.0, gt=0, description="Silence after which a series with gaps is judged as it is.")
    complete_on_release: bool = Field(True, description="Release of the last association completes a gapless series.")
    complete_on_count: bool = Field(True, description="The announced number of images completes a series.")
    min_slices: int = Field(5, ge=1, description="Series with fewer slices are rejected.")
    max_spacing_deviation: float = Field(0.05, gt=0, lt=1, description="Largest deviation of a gap, as a fraction.")
    lossy: LossyPolicy = Field(LossyPolicy.REJECT, description="Lossy compressed series: reject or accept.")
    accept_derived: bool = Field(False, description="Segment series whose ImageType says DERIVED beyond reformats.")
    body_parts: tuple[str, ...] = Field(
        ("BRAIN", "HEAD", "SKULL", "HEADNECK", "NEURO"),
        description="Allowed BodyPartExamined values; an absent value is allowed.",
    )


class RuleConfig(Section):
    """One rule; the first whose conditions all hold decides."""

    name: str = Field(description="Shown by `neuroscan rules test` and on the status page.")
    when: dict[str, Any] = Field(
        default_factory=dict,
        description="DICOM keyword -> value, list of values, {glob: ...}, {regex: ...}, {min: ..., max: ...}, "
        "{exists: true} or {not: condition}.",
    )
    model: str | None = Field(None, description="Name of the model bundle; null: store only, do not segment.")
    priority: int = Field(0, ge=-100, le=100, description="Higher is segmented first.")
    triage: str | None = Field(
        None, description="Name of a classifier whose opinion goes into the report of the segmentation, never alone."
    )


class StudyConfig(Section):
    """Several series of one study that are segmented as one; beside what the rules do with each of them."""

    name: str = Field(description="Shown on the status page and in `neuroscan status`.")
    when: dict[str, Any] = Field(
        default_factory=lambda: {"Modality": "MR"},
        description="Which series may take part: conditions as in `rules`. What each shows (T1, T1ce, T2, FLAIR) is "
        "found by its attributes.",
    )
    model: str = Field(description="Name of a model bundle of several sequences; it needs all of its sequences.")
    triage: str | None = Field(None, description="Name of a classifier whose opinion goes into the report.")
    references: tuple[SequenceName, ...] = Field(
        ("T1ce", "FLAIR"), description="Sequences on whose grid the result may lie; the one with the finest voxels."
    )
    min_overlap: float = Field(0.5, gt=0, le=1, description="Least share of a series that the others must cover.")
    allow_different_frames: bool = Field(
        False, description="Believe positions of series in different frames of reference; nothing is registered."
    )
    wait_s: float = Field(1800.0, gt=0, description="Silence after which missing sequences are not waited for.")
    priority: int = Field(0, ge=-100, le=100, description="Higher is segmented first, among studies.")


DEFAULT_RULES = (
    RuleConfig(
        name="FLAIR head",
        when={"Modality": "MR", "SeriesDescription": {"regex": r"(?i)flair|dark.?fluid|tirm"}},
        model="mobilenetv2-unet-flair",
    ),
)


class BusConfig(Section):
    """How the processes of the node talk."""

    directory: Path | None = Field(None, description="Folder of the ipc:// sockets; default: state_dir/run.")
    addresses: dict[Literal["gateway", "segmenter", "viewer"], str] = Field(
        default_factory=dict,
        description="Role -> tcp://host:port for roles on other machines; the port after it serves requests.",
    )
    curve_directory: Path | None = Field(
        None, description="CURVE keys (`neuroscan keys DIR` makes them); required for tcp:// beyond loopback."
    )
    queue_events: int = Field(128, ge=8, le=100000, description="Unread events kept per subscriber before replay.")


class TensorRtConfig(Section):
    """Engines that TensorRT builds for the GPU of this machine."""

    plan_dir: Path | None = Field(None, description="Folder of the engines built here; default: state_dir/engines.")
    workspace_mib: int = Field(1024, ge=16, le=1 << 20, description="GPU memory that a build may use for trials.")
    cuda_graphs: bool = Field(True, description="Replay a recorded CUDA graph for batch sizes that were seen before.")


class TritonConfig(Section):
    """A Triton Inference Server that executes the networks."""

    url: str = Field("127.0.0.1:8001", description="Address of the server, without scheme.")
    protocol: Literal["grpc", "http"] = Field("grpc", description="8001 is the usual port of gRPC, 8000 that of HTTP.")
    timeout_s: float = Field(10.0, gt=0, description="Wait for an answer, and for a server that restarts.")
    model_prefix: str = Field("", description="Put before a bundle's name to make the name on the server.")
    tls: bool = Field(False, description="Speak TLS with the server.")
    ca: Path | None = Field(None, description="Certificates in PEM that sign the server's; default: the system's.")
    certificate: Path | None = Field(None, description="Certificate chain in PEM that the node shows the server.")
    key: Path | None = Field(None, description="Private key of that certificate, in PEM.")


class SegmenterConfig(Section):
    """The segmentation service."""

    models_dir: Path | None = Field(None, description="More model bundles, beside those that come with the package.")
    engine: Literal["auto", "onnxruntime", "onnxruntime-cuda", "tensorrt", "triton"] = Field(
        "auto", description="What executes the networks; auto: TensorRT, else CUDA, else the processor."
    )
    precision: Literal["auto", "fp32", "fp16", "int8"] = Field(
        "auto", description="Numbers of the network; auto: fp16 on TensorRT, int8 on processors made for it, else fp32."
    )
    tensorrt: TensorRtConfig = TensorRtConfig()
    triton: TritonConfig = TritonConfig()
    threads: int = Field(0, ge=0, le=256, description="Threads of the engine; 0: all processors.")
    max_batch: int = Field(4, ge=1, le=64, description="Most slices segmented in one run when they queue up.")
    max_open_series: int = Field(8, ge=1, le=256, description="Series kept in memory at once; others wait.")


class SegFormat(str, Enum):
    """Encoding of the segmentation object."""

    BINARY = "BINARY"
    LABELMAP = "LABELMAP"
    FRACTIONAL = "FRACTIONAL"


class ResultsConfig(Section):
    """Which objects are made from a segmentation."""

    seg: bool = Field(True, description="DICOM SEG.")
    sr: bool = Field(True, description="TID 1500 measurement report.")
    secondary_capture: bool = Field(False, description="Overlay pictures for archives that cannot show SEG.")
    omit_empty_frames: bool = Field(True, description="Leave frames without tumour out of the SEG.")
    seg_series_number: int = Field(9700, ge=1, le=99999, description="SeriesNumber of the first SEG series.")
    sr_series_number: int = Field(9800, ge=1, le=99999, description="SeriesNumber of the first SR series.")
    sc_series_number: int = Field(9900, ge=1, le=99999, description="SeriesNumber of the first overlay series.")
    institution_note: str = Field("", max_length=64, description="Added to SeriesDescription, e.g. a site name.")


class DestinationConfig(Section):
    """A PACS that gets the results."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Name in logs, metrics and commands.")
    host: str = Field(description="Address.")
    port: Port = Field(104, description="Port.")
    ae_title: AETitle = Field("ANY-SCP", description="AE title of the archive.")
    calling_ae_title: AETitle | None = Field(None, description="AE title that this node shows; default: gateway's.")
    tls: TlsConfig | None = Field(None, description="DICOM TLS; plain TCP where absent.")
    seg_format: SegFormat = Field(SegFormat.BINARY, description="BINARY, LABELMAP (RLE) or FRACTIONAL.")
    send: tuple[Literal["SEG", "SR", "SC"], ...] = Field(("SEG", "SR", "SC"), description="Which results it gets.")
    storage_commitment: bool = Field(False, description="Ask for storage commitment and wait for it before purging.")
    commitment_timeout_s: float = Field(300, gt=0, description="Wait for the commitment before asking again.")
    timeout_s: float = Field(30, gt=0, description="Wait for connection, association and responses.")
    max_attempts: int = Field(12, ge=1, le=1000, description="Attempts before a result becomes a dead letter.")
    backoff_s: float = Field(1.0, gt=0, description="Wait after the first failure; doubles each time, with jitter.")
    max_backoff_s: float = Field(600.0, gt=0, description="Longest wait between attempts.")


class RetentionConfig(Section):
    """When the spool forgets."""

    keep_hours: float = Field(72.0, ge=0, description="Finished series are kept this long, then purged.")
    keep_undelivered_hours: float = Field(720.0, ge=0, description="Rejected and failed series, and dead letters.")
    require_commitment: bool = Field(True, description="Purge only after commitment, where a destination offers it.")


class ViewerAuthConfig(Section):
    """Login to the application. With both, either opens it."""

    password_hash: str | None = Field(
        None, description="What `neuroscan viewer-password` prints; the password itself is kept nowhere."
    )
    token_file: Path | None = Field(
        None,
        description="File that holds a token, readable by this user alone; made where it is missing. Programs send it "
        "as `Authorization: Bearer`.",
    )
    idle_minutes: float = Field(60.0, gt=0, le=1440, description="A session ends so long after its last request.")
    session_hours: float = Field(12.0, gt=0, le=168, description="A session ends so long after its login.")

    @model_validator(mode="after")
    def _something_is_asked_for(self) -> ViewerAuthConfig:
        if self.password_hash is None and self.token_file is None:
            raise ValueError("auth needs password_hash or token_file")
        return self


class ViewerTlsConfig(Section):
    """HTTPS by the application itself."""

    certificate: Path = Field(description="Certificate chain in PEM.")
    key: Path = Field(description="Private key in PEM.")


class UploadsConfig(Section):
    """What may be dropped on the page."""

    max_bytes: int = Field(2 << 30, ge=1 << 20, description="Largest upload, all files of it together.")
    max_files: int = Field(5000, ge=1, le=100000, description="Most files of an upload, those in archives counted.")
    max_unpacked_bytes: int = Field(4 << 30, ge=1 << 20, description="Largest upload after unpacking.")
    max_kept_bytes: int = Field(
        20 << 30, ge=1 << 20, description="All uploads and reports together; more uploads are refused."
    )
    keep_hours: float = Field(24.0, gt=0, description="Uploads, results and reports are deleted after this.")


class ProseConfig(Section):
    """A language model that words the report, over an OpenAI-compatible endpoint. It gets numbers, never identity."""

    url: str = Field(pattern=r"^https?://", description="Base address, e.g. http://127.0.0.1:11434/v1.")
    model: str = Field(min_length=1, description="Name of the model at that address.")
    api_key_file: Path | None = Field(None, description="File with the key, readable by this user alone.")
    picture: bool = Field(False, description="Send a picture of the largest slice, too; no identity is in it.")
    timeout_s: float = Field(60.0, gt=0, description="Wait for the text; the report is complete without it.")


class DiagnoseConfig(Section):
    """Studies that people drop on the page."""

    enabled: bool = Field(True, description="Take uploads.")
    models: tuple[str, ...] = Field(
        (), description="Segmenters that are offered first; empty: those that fit what was dropped."
    )
    triage: str | None = Field("tumour-classifier", description="Classifier that looks first; null: none.")
    max_running: int = Field(1, ge=1, le=16, description="Diagnoses at once; more wait.")
    max_waiting: int = Field(8, ge=0, le=1000, description="Diagnoses that may wait; more are refused.")
    timeout_s: float = Field(1800.0, gt=0, description="A diagnosis that takes longer is ended.")
    prose: ProseConfig | None = Field(None, description="Off where absent; its text is marked as generated.")


class ViewerConfig(Section):
    """The application in the browser, with health and metrics."""

    enabled: bool = Field(True, description="Run it under `neuroscan up`.")
    host: str = Field("127.0.0.1", description="Address to listen on; beyond this machine, `auth` is required.")
    port: Port = Field(8080, description="Port to listen on.")
    directory: Path | None = Field(
        None, description="Folder of uploads, reports and the audit trail; default: state_dir/viewer."
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Names by which browsers reach it, e.g. a proxy's; beyond this machine, `auth` is required."
    )
    auth: ViewerAuthConfig | None = Field(None, description="Login; needless where only this machine can reach it.")
    tls: ViewerTlsConfig | None = Field(None, description="HTTPS; plain HTTP where absent.")
    behind_tls_proxy: bool = Field(
        False, description="A proxy in front speaks HTTPS and states the browser's address in X-Forwarded-For."
    )
    max_case_bytes: int = Field(
        256 << 20, ge=16 << 20, description="Images and masks kept in memory for those who look at them."
    )
    uploads: UploadsConfig = UploadsConfig()
    diagnose: DiagnoseConfig = DiagnoseConfig()


class LogConfig(Section):
    """Logs."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity shown.")
    format: Literal["json", "console"] = Field("console", description="JSON lines, or readable text.")


class NodeConfig(Section):
    """The whole node."""

    state_dir: Path = Field(Path("neuroscan-state"), description="Spool, journal, results and sockets.")
    gateway: GatewayConfig = GatewayConfig()
    series: SeriesConfig = SeriesConfig()
    rules: tuple[RuleConfig, ...] = Field(DEFAULT_RULES, description="Which series goes to which model; first match.")
    studies: tuple[StudyConfig, ...] = Field((), description="Studies whose series are segmented together.")
    segmenter: SegmenterConfig = SegmenterConfig()
    results: ResultsConfig = ResultsConfig()
    destinations: tuple[DestinationConfig, ...] = Field((), description="Archives that get the results.")
    retention: RetentionConfig = RetentionConfig()
    bus: BusConfig = BusConfig()
    viewer: ViewerConfig = ViewerConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _destination_names_are_unique(self) -> NodeConfig:
        names = [destination.name for destination in self.destinations]
        if len(set(names)) != len(names):
            raise ValueError("destinations need different names")
        return self

    @model_validator(mode="after")
    def _study_names_are_unique(self) -> NodeConfig:
        names = [study.name for study in self.studies]
        if len(set(names)) != len(names):
            raise ValueError("studies need different names")
        return self

    @model_validator(mode="after")
    def _engines_are_kept_in_the_state_folder(self) -> NodeConfig:
        if self.segmenter.tensorrt.plan_dir is None:
            tensorrt = self.segmenter.tensorrt.model_copy(update={"plan_dir": self.state_dir / "engines"})
            # Sections do not change once they were checked; this is still part of the check.
            self.__dict__["segmenter"] = self.segmenter.model_copy(update={"tensorrt": tensorrt})
        return self

    @model_validator(mode="after")
    def _the_viewer_keeps_its_files_in_the_state_folder(self) -> NodeConfig:
        if self.viewer.directory is None:
            viewer = self.viewer.model_copy(update={"directory": self.state_dir / "viewer"})
            self.__dict__["viewer"] = viewer
        return self

    @property
    def models_in_use(self) -> frozenset[str]:
        """Names of all models that rules and studies name."""
        named = [(rule.model, rule.triage if rule.model else None) for rule in self.rules]
        named += [(study.model, study.triage) for study in self.studies]
        return frozenset(name for pair in named for name in pair if name is not None)

    @property
    def journal_path(self) -> Path:
        """SQLite file of the journal."""
        return self.state_dir / "journal.sqlite"

    @property
    def spool_dir(self) -> Path:
        """Folder of received objects."""
        return self.state_dir / "spool"

    @property
    def results_dir(self) -> Path:
        """Folder of produced objects."""
        return self.state_dir / "results"

    @property
    def run_dir(self) -> Path:
        """Folder of sockets and process files."""
        return self.bus.directory or self.state_dir / "run"


def load_config(path: Path | None) -> NodeConfig:
    """Read and check a configuration file; defaults where `path` is None.

    Raises
    ------
    ConfigurationError
        Names every wrong key, what it holds and what is allowed.
    """
    return NodeConfig() if path is None else parse_config(read_config(path), source=str(path))


def read_config(path: Path) -> Any:
    """Read a configuration file without a look at its keys.

    Raises
    ------
    ConfigurationError
        It cannot be read, or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as exc:
        raise ConfigurationError(f"Cannot read {path}: {exc.strerror}.", remedy="Check path and rights.") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{path} is not YAML: {exc}.", remedy="Mend the line that it names.") from exc


def save_config(config: NodeConfig, path: Path) -> None:
    """Write what `load_config` reads back as the same; readable by this user alone, as it may hold a password's hash.

    Raises
    ------
    ConfigurationError
        It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        path.touch(0o600, exist_ok=False)
        path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_defaults=True)), encoding="utf-8")
    except OSError as exc:
        raise ConfigurationError(f"Cannot write {path}: {exc.strerror}.", remedy="Check path and rights.") from exc


def parse_config(raw: Any, *, source: str = "configuration") -> NodeConfig:
    """Check an already parsed configuration; see `load_config`."""
    try:
        return NodeConfig.model_validate(raw)
    except ValidationError as exc:
        problems = "; ".join(f"{key or 'file'}: {message}" for key, message in wrong_keys(exc))
        raise ConfigurationError(
            f"{source}: {problems}.", remedy="`neuroscan config reference` lists every key."
        ) from exc


def wrong_keys(error: ValidationError) -> list[tuple[str, str]]:
    """Dotted path of each wrong key, empty where the whole is wrong, and what is wrong with it."""
    return [(".".join(str(part) for part in one["loc"]), one["msg"]) for one in error.errors()]
