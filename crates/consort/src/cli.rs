//! The command line.

mod follow;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::Ipv4Net;

pub(crate) use follow::{Drift, Score, ScoreAdd, ScoreList, ScoreRm, ScoreShow, Suspend, Sync};

use crate::access::AccessOptions;
use crate::output::Colour;

/// A cloud orchestrator in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "consort",
    version,
    about,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command has.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Configuration file [default: /etc/consort/config.yaml, if there is one]
    #[arg(long, global = true, env = "CONSORT_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or filters such as `info,consort_node=debug`
    #[arg(
        long = "log",
        global = true,
        env = "CONSORT_LOG",
        value_name = "FILTER"
    )]
    pub(crate) log: Option<String>,
    /// Form of log lines
    #[arg(long, global = true, env = "CONSORT_LOG_FORMAT", value_enum)]
    pub(crate) log_format: Option<LogFormat>,
    /// When to use colours; NO_COLOR is respected
    #[arg(long = "color", global = true, value_enum, default_value_t)]
    pub(crate) colour: Colour,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a server here, apply what a directory describes, and keep it running
    Up(Up),
    /// Show what would be done to make everything as a score says: one plan of all its parts
    Plan(Plan),
    /// Delete what a score has made, in the reverse of the order it was made in
    Destroy(Destroy),
    /// Go on with an operation that was cut off or failed
    Resume(Resume),
    /// Let a plan be carried out that reaches too far to be without somebody's word
    Approve(Decide),
    /// Forbid a plan to be carried out
    Reject(Decide),
    /// Follow scores in Git repositories, and see how they stand
    #[command(subcommand)]
    Score(Score),
    /// Look at a followed score's repository now, and carry out what it says
    Sync(Sync),
    /// Leave scores alone: nothing is fetched, synced or healed
    Suspend(Suspend),
    /// Follow suspended scores again
    ResumeSync(Suspend),
    /// Show what differs from what was applied, and who owns it; exit with 2 if something has drifted
    Drift(Drift),
    /// Print the JSON schema of consort.yaml
    Schema,
    /// Test, evaluate and lay out policies in Rego, with the options that `opa` has
    #[command(subcommand)]
    Policy(crate::commands::policy::Policy),
    /// Say why anything is as it is: an object, a resource of a score, an operation, a plan
    Why(Why),
    /// Show what was done to scores: by whom, from which commit, and how it went
    History(History),
    /// Show what differs between two revisions of a score, or between plans
    Diff(Diff),
    /// Make a score as it was at a revision: plan it, show what cannot be undone, carry it out
    Rollback(Rollback),
    /// Draw the graph of a score: what depends on what, and how it stands
    Graph(Graph),
    /// Stop the server of a data directory, and everything it runs
    Down(Down),
    /// Run the server: the API, the reconcilers, and this machine as a node
    Server(ServerArgs),
    /// Show objects
    Get(Get),
    /// Show one object with its conditions and events
    Describe(Describe),
    /// Print a container's output
    Logs(Logs),
    /// Run a command in a container
    Exec(Exec),
    /// Carry out the plan of a score, or create or change objects as files say (-f)
    Apply(Apply),
    /// Delete objects
    Delete(Delete),
    /// Run Ansible playbooks, with the options of `ansible-playbook` (see `consort play --help`)
    #[command(disable_help_flag = true)]
    Play(Words),
    /// Run one Ansible module on hosts, with the options of `ansible` (see `consort ad-hoc --help`)
    #[command(disable_help_flag = true)]
    AdHoc(Words),
    /// Show an Ansible inventory, with the options of `ansible-inventory` (see `consort inventory --help`)
    #[command(disable_help_flag = true)]
    Inventory(Words),
    /// Encrypt and decrypt files and texts of playbooks, with the options of `ansible-vault` (see `consort vault --help`)
    #[command(disable_help_flag = true)]
    Vault(Words),
    /// Terraform's command line: plan and apply infrastructure (see `consort tf -help`)
    #[command(disable_help_flag = true)]
    Tf {
        /// A command of Terraform with its options
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Work on the images of this machine
    #[command(subcommand)]
    Image(Image),
    /// Make, run, enter and remove machines of this host, and their networks
    #[command(subcommand)]
    Machine(Machine),
    /// Run this machine as a node of a cluster whose server is elsewhere
    Node(NodeArgs),
    /// Back up, restore, check and compact the store of a data directory
    #[command(subcommand)]
    Store(Store),
    /// The commands of the built-in image consort.dev/toolbox
    #[command(subcommand)]
    Toolbox(crate::toolbox::Command),
    /// Print the version
    Version(Version),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Which server to speak to.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// URL of the server, in place of the kubeconfig's
    #[arg(long, env = "CONSORT_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Data directory of a server on this machine
    #[arg(long, env = "CONSORT_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Kubeconfig to use
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Namespace to work in
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
}

impl Target {
    /// The server of a data directory on this machine.
    pub(crate) fn of_data_dir(dir: &std::path::Path) -> Self {
        Self {
            server: None,
            data_dir: Some(dir.to_owned()),
            kubeconfig: None,
            context: None,
            namespace: None,
        }
    }
}

/// Settings of a server; the same keys stand under `server` in the configuration file.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ServerOptions {
    /// Where everything is kept [default: /var/lib/consort]
    #[arg(long, env = "CONSORT_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address of the API [default: 127.0.0.1:6443]
    #[arg(long, env = "CONSORT_LISTEN", value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Run no node here: no pods, no pod network
    #[arg(long, env = "CONSORT_NO_NODE")]
    pub(crate) no_node: bool,
    /// Name of this machine's node [default: the host name]
    #[arg(long, env = "CONSORT_NODE_NAME", value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// Addresses for pods [default: 10.244.0.0/16]
    #[arg(long, env = "CONSORT_POD_CIDR", value_name = "CIDR")]
    pub(crate) pod_cidr: Option<Ipv4Net>,
    /// Addresses for services [default: 10.96.0.0/16]
    #[arg(long, env = "CONSORT_SERVICE_CIDR", value_name = "CIDR")]
    pub(crate) service_cidr: Option<Ipv4Net>,
    /// Domain of cluster DNS [default: cluster.local]
    #[arg(long, env = "CONSORT_CLUSTER_DOMAIN", value_name = "DOMAIN")]
    pub(crate) cluster_domain: Option<String>,
    /// Further names and addresses the API is reached by, for its certificate
    #[arg(
        long,
        env = "CONSORT_TLS_NAMES",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub(crate) tls_name: Vec<String>,
    /// Which resources are encrypted at rest and how: an EncryptionConfiguration
    /// [default: secrets, with a key made at the first start]
    #[arg(long, env = "CONSORT_ENCRYPTION_CONFIG", value_name = "FILE")]
    pub(crate) encryption_config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) access: AccessOptions,
}

/// `consort server`.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) options: ServerOptions,
    /// On SIGTERM leave pods running for the next start to adopt, as a service restart wants it
    #[arg(long, env = "CONSORT_KEEP_PODS")]
    pub(crate) keep_pods: bool,
}

/// `consort node`.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// What the server has told about the cluster and this node
    pub(crate) membership: PathBuf,
    /// Where everything is kept [default: /var/lib/consort]
    #[arg(long, env = "CONSORT_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// A command line that another parser reads.
#[derive(Debug, Args)]
pub(crate) struct Words {
    /// Options and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<std::ffi::OsString>,
}

/// `consort up`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Directory of a score: with a consort.yaml, or with manifests, Terraform configurations and policies
    pub(crate) dir: PathBuf,
    /// Go on in the background; `consort down` stops it
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// How long each step may take, readiness included, in place of what the score says
    #[arg(long, value_parser = duration)]
    pub(crate) timeout: Option<std::time::Duration>,
    #[command(flatten)]
    pub(crate) walk: Walk,
    #[command(flatten)]
    pub(crate) options: ServerOptions,
}

/// How a plan is carried out.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Walk {
    /// Do not ask; a plan above the threshold of its score needs an approval all the same
    #[arg(long)]
    pub(crate) auto_approve: bool,
    /// As JSON: the plan, each event, and the operation, one a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Show values whole
    #[arg(long)]
    pub(crate) full: bool,
}

/// `consort plan`.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Directory of a score
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Save the plan, for `consort apply FILE`
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Plan to delete everything
    #[arg(long)]
    pub(crate) destroy: bool,
    /// Plan these parts only, and what they take values from
    #[arg(long = "part", value_name = "NAME")]
    pub(crate) parts: Vec<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Show values whole, and what stays as it is
    #[arg(long)]
    pub(crate) full: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort destroy`.
#[derive(Debug, Args)]
pub(crate) struct Destroy {
    /// Directory of a score, or the name of one the server knows
    #[arg(default_value = ".")]
    pub(crate) score: String,
    #[command(flatten)]
    pub(crate) walk: Walk,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort why`.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// KIND/NAME, PART/RESOURCE, an operation (SCORE-REVISION), a score, or the id of a plan
    #[arg(required = true, num_args = 1..=2)]
    pub(crate) what: Vec<String>,
    /// The score, where several have a part of that name
    #[arg(long)]
    pub(crate) score: Option<String>,
    /// Namespace of the scores' records [default: consort-system]
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) records: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort history`.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// A score, or an operation (SCORE-REVISION) for all its steps [default: all scores]
    pub(crate) what: Option<String>,
    /// Only so many, the latest
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// REVISION, SCORE-REVISION, or the id of a plan
    pub(crate) from: String,
    /// The same
    pub(crate) to: String,
    /// The score, where revisions are given alone and the server knows several
    #[arg(long)]
    pub(crate) score: Option<String>,
    /// What differs in the sources too, line by line
    #[arg(long)]
    pub(crate) sources: bool,
    /// Show values whole
    #[arg(long)]
    pub(crate) full: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort rollback`.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// REVISION, or SCORE-REVISION
    pub(crate) revision: String,
    /// The score, where a revision is given alone and the server knows several
    #[arg(long)]
    pub(crate) score: Option<String>,
    /// Show the plan, store it, and carry nothing out
    #[arg(long)]
    pub(crate) plan: bool,
    #[command(flatten)]
    pub(crate) walk: Walk,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort graph`.
#[derive(Debug, Args)]
pub(crate) struct Graph {
    /// A score, an operation (SCORE-REVISION), the id of a plan, or with --plan a directory
    /// [default: the only score; with --plan the present directory]
    pub(crate) what: Option<String>,
    /// Plan a directory and draw what would be done
    #[arg(long)]
    pub(crate) plan: bool,
    /// Form of the graph
    #[arg(short, long, value_enum, default_value = "dot")]
    pub(crate) format: GraphFormat,
    /// Only what changes, and what that depends on directly
    #[arg(long)]
    pub(crate) changes: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Form of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// Graphviz.
    Dot,
    /// Mermaid, as Markdown shows it.
    Mermaid,
    /// JSON.
    Json,
}

/// `consort resume`.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The operation: SCORE-REVISION, or SCORE for its latest
    pub(crate) operation: String,
    /// As JSON: each event, and the operation, one a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort approve` and `consort reject`.
#[derive(Debug, Args)]
pub(crate) struct Decide {
    /// The id of the plan
    #[arg(value_name = "ID")]
    pub(crate) blueprint: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort down`.
#[derive(Debug, Args)]
pub(crate) struct Down {
    /// Data directory of the server [default: /var/lib/consort]
    #[arg(long, env = "CONSORT_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// `consort get`.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// KIND, KIND NAME..., KIND,KIND or KIND/NAME...
    #[arg(required = true)]
    pub(crate) what: Vec<String>,
    /// Form of the output: wide, name, yaml or json
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
    /// Only objects with these labels
    #[arg(short = 'l', long)]
    pub(crate) selector: Option<String>,
    /// Only objects with these fields
    #[arg(long)]
    pub(crate) field_selector: Option<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Go on and show changes
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Leave the header line out
    #[arg(long)]
    pub(crate) no_headers: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Form of `get`'s output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table with more columns.
    Wide,
    /// `kind/name` lines.
    Name,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// `consort describe`.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// KIND, KIND NAME... or KIND/NAME...
    #[arg(required = true)]
    pub(crate) what: Vec<String>,
    /// Only objects with these labels
    #[arg(short = 'l', long)]
    pub(crate) selector: Option<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// POD, or KIND/NAME of something that has pods
    pub(crate) what: String,
    /// Which container, if the pod has several
    #[arg(short, long)]
    pub(crate) container: Option<String>,
    /// Go on as the container writes
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Of the container's last run
    #[arg(short, long)]
    pub(crate) previous: bool,
    /// With the time of each line
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// Only this many lines from the end
    #[arg(long)]
    pub(crate) tail: Option<i64>,
    /// Only lines younger than this, e.g. 10m
    #[arg(long, value_parser = duration)]
    pub(crate) since: Option<std::time::Duration>,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort exec`.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// POD, or KIND/NAME of something that has pods
    pub(crate) what: String,
    /// Which container, if the pod has several
    #[arg(short, long)]
    pub(crate) container: Option<String>,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// Give the command a terminal
    #[arg(short = 't', long)]
    pub(crate) tty: bool,
    #[command(flatten)]
    pub(crate) target: Target,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
}

/// `consort apply`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// Directory of a score, a plan saved with `consort plan -o`, or the id of a stored plan
    #[arg(
        value_name = "DIR|FILE|ID",
        conflicts_with = "files",
        required_unless_present = "files"
    )]
    pub(crate) plan: Option<String>,
    #[command(flatten)]
    pub(crate) walk: Walk,
    /// Files or directories of manifests; - for standard input
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
    /// With -f: let the server check everything and change nothing
    #[arg(long, requires = "files")]
    pub(crate) dry_run: bool,
    /// With -f: take over fields that others own
    #[arg(long, requires = "files")]
    pub(crate) force_conflicts: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// KIND NAME... or KIND/NAME...
    pub(crate) what: Vec<String>,
    /// The objects in these files or directories
    #[arg(
        short = 'f',
        long = "filename",
        value_name = "PATH",
        conflicts_with = "what"
    )]
    pub(crate) files: Vec<PathBuf>,
    /// Objects of the kind with these labels
    #[arg(short = 'l', long)]
    pub(crate) selector: Option<String>,
    /// All objects of the kind
    #[arg(long)]
    pub(crate) all: bool,
    /// What does not exist is no error
    #[arg(long)]
    pub(crate) ignore_not_found: bool,
    /// Seconds a pod gets to end by itself
    #[arg(long)]
    pub(crate) grace_period: Option<u32>,
    /// Return at once
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort image`.
#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// Take images in from an OCI layout or archive, or a Docker archive
    Import {
        /// The archive, or the directory of a layout
        path: PathBuf,
        /// Name for an image that has none, or only a tag, in the archive
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        store: ImageStore,
    },
    /// List the images of this machine
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        store: ImageStore,
    },
    /// Pull an image from its registry
    Pull {
        /// The image's name
        name: String,
        #[command(flatten)]
        store: ImageStore,
    },
    /// Remove images by name
    #[command(visible_alias = "remove")]
    Rm {
        /// The images' names
        #[arg(required = true)]
        names: Vec<String>,
        /// Remove names that containers use, too; the containers keep their files
        #[arg(long, short)]
        force: bool,
        #[command(flatten)]
        store: ImageStore,
    },
}

/// Where images are kept.
#[derive(Debug, Args)]
pub(crate) struct ImageStore {
    /// Data directory of the server [default: /var/lib/consort]
    #[arg(long, env = "CONSORT_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// `consort machine`.
#[derive(Debug, Subcommand)]
pub(crate) enum Machine {
    /// List the machines of this host
    #[command(visible_alias = "ls")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: MachineStore,
    },
    /// Make a machine from an image or a directory, and start it
    Create(Box<CreateMachine>),
    /// Run a command in a machine
    Exec(ExecMachine),
    /// Run a shell in a machine
    Shell {
        /// The machine
        name: String,
        #[command(flatten)]
        store: MachineStore,
    },
    /// Print what a machine's program, or its console, has said
    Logs {
        /// The machine
        name: String,
        /// Go on as it says more
        #[arg(short, long)]
        follow: bool,
        /// With the time of each line
        #[arg(long)]
        timestamps: bool,
        /// Only this many lines from the end
        #[arg(long)]
        tail: Option<usize>,
        #[command(flatten)]
        store: MachineStore,
    },
    /// Start machines that were stopped, or went with their host
    Start {
        /// The machines
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        store: MachineStore,
    },
    /// Stop machines; what they have written stays
    Stop {
        /// The machines
        #[arg(required = true)]
        names: Vec<String>,
        /// How long each gets to end by itself [default: 20s]
        #[arg(long, value_parser = duration)]
        grace: Option<std::time::Duration>,
        #[command(flatten)]
        store: MachineStore,
    },
    /// Remove machines, running or not, with all they have written
    #[command(visible_alias = "remove")]
    Rm {
        /// The machines
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        store: MachineStore,
    },
    /// The networks that machines are in
    #[command(subcommand)]
    Network(MachineNetwork),
}

/// `consort machine network`.
#[derive(Debug, Subcommand)]
pub(crate) enum MachineNetwork {
    /// List the networks
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        store: MachineStore,
    },
    /// Make a network
    Create {
        /// Its name
        name: String,
        /// Its addresses, such as 10.20.0.0/24
        #[arg(long)]
        cidr: Ipv4Net,
        /// Let nothing pass beyond the host
        #[arg(long)]
        internal: bool,
        #[command(flatten)]
        store: MachineStore,
    },
    /// Remove networks without machines
    #[command(visible_alias = "remove")]
    Rm {
        /// The networks
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        store: MachineStore,
    },
}

/// `consort machine create`.
#[derive(Debug, Args)]
pub(crate) struct CreateMachine {
    /// Its name
    pub(crate) name: String,
    /// The OCI image it is made from
    #[arg(long, value_name = "IMAGE", conflicts_with = "root")]
    pub(crate) image: Option<String>,
    /// The directory it is made from, which stays as it is
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// The network it is in
    #[arg(long, value_name = "NAME")]
    pub(crate) network: String,
    /// Its address there [default: a free one]
    #[arg(long)]
    pub(crate) address: Option<std::net::Ipv4Addr>,
    /// CPUs it may use, also parts of one
    #[arg(long)]
    pub(crate) cpus: Option<f64>,
    /// Memory in MiB
    #[arg(long)]
    pub(crate) memory: Option<u64>,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Show a file or directory of the host in it
    #[arg(short, long, value_name = "PATH:PATH[:ro]")]
    pub(crate) volume: Vec<String>,
    /// Let a port of the host lead to one of the machine
    #[arg(short, long, value_name = "HOST_PORT:PORT[/udp]")]
    pub(crate) publish: Vec<String>,
    /// Give it all capabilities and devices of the host
    #[arg(long)]
    pub(crate) privileged: bool,
    #[command(flatten)]
    pub(crate) store: MachineStore,
    /// Its program [default: the image's, or /sbin/init]
    #[arg(last = true)]
    pub(crate) command: Vec<String>,
}

/// `consort machine exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecMachine {
    /// The machine
    pub(crate) name: String,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// Give the command a terminal
    #[arg(short = 't', long)]
    pub(crate) tty: bool,
    /// Run it as this user: user, uid, user:group or uid:gid
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Run it in this directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<PathBuf>,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    #[command(flatten)]
    pub(crate) store: MachineStore,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
}

/// Where machines are kept.
#[derive(Debug, Args)]
pub(crate) struct MachineStore {
    /// Data directory of the installation [default: /var/lib/consort]
    #[arg(long, env = "CONSORT_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// `consort store`.
#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Write all objects, as they are at one revision, to a file; a running server goes on
    Backup {
        /// The file; it appears whole or not at all
        file: PathBuf,
        #[command(flatten)]
        store: StoreDir,
    },
    /// Make the store of a data directory of a backup; there must be none yet
    Restore {
        /// The backup
        file: PathBuf,
        /// Go on this many revisions after the backup's, so that everyone who watched lists again
        #[arg(long, default_value_t = 1_000_000, value_name = "N")]
        bump_revision: u64,
        #[command(flatten)]
        store: StoreDir,
    },
    /// Read everything on disk and check it; a server may be running
    Verify {
        /// Prove that nothing can be read that should be encrypted, in any file
        #[arg(long)]
        encrypted: bool,
        /// Check a backup instead
        #[arg(long, value_name = "FILE", conflicts_with = "encrypted")]
        backup: Option<PathBuf>,
        #[command(flatten)]
        store: StoreDir,
    },
    /// Show where and how an object lies on disk
    Inspect {
        /// RESOURCE[.GROUP]/[NAMESPACE/]NAME, e.g. secrets/default/db
        key: String,
        /// With its bytes
        #[arg(long)]
        raw: bool,
        #[command(flatten)]
        store: StoreDir,
    },
    /// Drop all history and give its space back; those who watch and are behind list again
    Compact {
        #[command(flatten)]
        store: StoreDir,
    },
    /// Encrypt with the present key what another key, or none, wrote, and leave nothing else on disk
    Reseal {
        /// Make a new key first, and drop the old ones at the end
        #[arg(long)]
        new_key: bool,
        #[command(flatten)]
        store: StoreDir,
    },
}

/// Where a store is.
#[derive(Debug, Args)]
pub(crate) struct StoreDir {
    /// Data directory of the server [default: /var/lib/consort]
    #[arg(long, env = "CONSORT_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The server's EncryptionConfiguration, if it has one
    #[arg(long, env = "CONSORT_ENCRYPTION_CONFIG", value_name = "FILE")]
    pub(crate) encryption_config: Option<PathBuf>,
}

/// `consort version`.
#[derive(Debug, Args)]
pub(crate) struct Version {
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads `90s`, `5m`, `1h30m`, or a bare number of seconds.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(std::time::Duration::from_secs(seconds));
    }
    let mut total = std::time::Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number
            .parse()
            .map_err(|_| "a duration looks like 90s, 5m or 1h30m".to_owned())?;
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let seconds_of = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86400,
            _ => return Err(format!("{unit:?} is not one of s, m, h, d")),
        };
        let part = number
            .checked_mul(seconds_of)
            .ok_or("the duration is too long")?;
        total = total
            .checked_add(std::time::Duration::from_secs(part))
            .ok_or("the duration is too long")?;
        rest = tail;
    }
    if text.is_empty() {
        return Err("a duration looks like 90s, 5m or 1h30m".to_owned());
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_read_in_their_usual_forms() {
        let seconds = |text| duration(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("1h30m"), Ok(5400));
        for text in [
            "",
            "5x",
            "m",
            "1h-2m",
            "99999999999999999999s",
            "999999999999999999d",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
