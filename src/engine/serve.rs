//! Starts an engine: opens its state, takes up what runs, and answers until it is told to end.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::api::{Api, Shared};
use super::clock::Clock;
use super::core::Core;
use super::event::{Hub, Place};
use super::instance::{Instance, TaskId};
use super::journal::{Journal, JournalError, Past};
use super::ledger::Machine;
use super::listen;
use super::ports::HostPorts;
use super::reading::Rules;
use super::record::Record;
use super::supervisor::{Desk, Supervisor};
use super::tasks::{Sandboxes, Setting, Tasks, user_name};
use crate::docker::{Docker, DockerError, InstanceNetwork, Socket};
use crate::model::Secret;

/// How an engine is run.
#[derive(Debug, Clone)]
pub struct Options {
    pub listen: SocketAddr,
    pub state: PathBuf,
    /// Apps may be processes of this machine, and containers may have what amounts to the same.
    pub allow_commands: bool,
    /// Command tasks end when the engine is told to, and are launched again at its next start.
    pub end_commands_on_exit: bool,
    /// The bridge network of its containers, made if missing; without it Docker's own.
    pub network: Option<String>,
    /// Host ports are published there, and tasks name it as their host.
    pub address: IpAddr,
    pub ports: RangeInclusive<u16>,
    /// What tasks may have in all, where that is less than the machine has.
    pub share: Share,
    pub docker: Socket,
    /// On everything it makes in Docker.
    pub labels: HashMap<String, String>,
    /// `user:password`, asked of every request.
    pub credentials: Option<Secret>,
    /// `$PATH` of command tasks.
    pub path: String,
    /// How many requests are answered at the same time; without it as many as come.
    pub max_concurrent_requests: Option<usize>,
    /// Pages of these origins may read answers.
    pub access_control_allow_origin: Vec<String>,
    /// The longest that a launch may take.
    pub task_launch_timeout: Duration,
    /// How long the files of a task are kept after it ended.
    pub keep_sandboxes: Duration,
}

/// What of the machine an engine gives to tasks; all there is of what is not said.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Share {
    pub cpus: Option<f64>,
    /// MiB.
    pub mem: Option<f64>,
    /// MiB.
    pub disk: Option<f64>,
}

impl Share {
    fn of(self, machine: Machine) -> Machine {
        Machine {
            cpus: self.cpus.unwrap_or(machine.cpus),
            mem: self.mem.unwrap_or(machine.mem),
            disk: self.disk.unwrap_or(machine.disk),
        }
    }
}

/// Why an engine cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error("cannot listen at {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        cause: io::Error,
    },
    #[error("cannot answer requests any more")]
    Serve(#[source] io::Error),
    #[error("cannot find out what the machine has")]
    Machine(#[source] io::Error),
    #[error("a client wanted the engine to abdicate (DELETE /v2/leader)")]
    Abdicated,
}

/// An engine that listens, and does not answer yet.
#[derive(Debug)]
pub struct Engine {
    listener: TcpListener,
    address: SocketAddr,
    api: Api,
    supervisor: Supervisor,
    tasks: Tasks,
    shutdown: CancellationToken,
    abdication: CancellationToken,
    end_commands: bool,
}

/// How long requests that are being answered may take when the engine ends.
const DRAIN: Duration = Duration::from_secs(5);

impl Engine {
    /// Opens the state and listens. Docker is asked later, and may be away.
    pub async fn open(options: Options) -> Result<Self, EngineError> {
        listen::raise_descriptor_limit();
        let mut journal = Journal::open(&options.state)?;
        let engine = journal.engine_id()?;
        let docker = Docker::at(options.docker);
        let listener = TcpListener::bind(options.listen).await;
        let listener = listener.map_err(|cause| EngineError::Listen { address: options.listen, cause })?;
        let address = listener.local_addr().map_err(EngineError::Serve)?;
        let host = if options.address.is_unspecified() { "127.0.0.1".to_owned() } else { options.address.to_string() };
        let place = Place { address: options.address, host: host.clone(), agent: format!("{engine}-S0") };
        let clock = Clock::new();
        let random = u16::from_be_bytes(*Uuid::new_v4().as_bytes().first_chunk().expect("a uuid has 16 bytes"));
        let ports = HostPorts::new(options.ports.clone(), options.address).beginning_anywhere(random);
        let share = options.share.of(machine(&options.state).map_err(EngineError::Machine)?);
        let core = Core::new(journal.load()?, place.clone(), share, ports, clock.now());
        let sandboxes = Sandboxes::keeping(&absolute(&options.state), options.keep_sandboxes);
        take_stock(&sandboxes, &core);
        let setting = Setting {
            docker,
            engine: engine.clone(),
            network: options.network.map_or(InstanceNetwork::DefaultBridge, InstanceNetwork::Named),
            labels: options.labels,
            address: options.address,
            host,
            path: options.path,
            trusts_apps: options.allow_commands,
            launch_timeout: options.task_launch_timeout,
            sandboxes,
            clock: clock.clone(),
        };
        let (reporter, reports) = mpsc::unbounded_channel();
        let tasks = Tasks::new(setting, reporter);
        let hub = Hub::new();
        let users = rustix::process::geteuid().is_root();
        let rules = Rules { commands: options.allow_commands, users, ..Rules::default() };
        let past = Past::open(&options.state)?;
        let desk = Desk { core, journal, rules: rules.clone() };
        let (supervisor, asker, board) = Supervisor::new(desk, tasks.clone(), hub.clone(), clock.clone(), reports);
        let (shutdown, abdication) = (CancellationToken::new(), CancellationToken::new());
        let api = Api::new(Shared {
            asker,
            board,
            past,
            tasks: tasks.clone(),
            hub,
            rules,
            place,
            leader: leader(address),
            credentials: options.credentials,
            framework: format!("{engine}-0000"),
            user: user_name(),
            since: clock.now(),
            ports: options.ports,
            max_requests: options.max_concurrent_requests,
            origins: options.access_control_allow_origin,
            shutdown: shutdown.clone(),
            abdication: abdication.clone(),
        });
        let end_commands = options.end_commands_on_exit;
        Ok(Self { listener, address, api, supervisor, tasks, shutdown, abdication, end_commands })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests and keeps what is asked for running until `ended`, or until a client wants it to abdicate, which
    /// is [`EngineError::Abdicated`]. Tasks keep running then.
    pub async fn run(self, ended: impl Future<Output = ()>) -> Result<(), EngineError> {
        let docker = tokio::spawn({
            let tasks = self.tasks.clone();
            async move { tasks.follow_docker().await }
        });
        let keeping_house = tokio::spawn({
            let tasks = self.tasks.clone();
            async move { tokio::join!(tasks.keep_house(), tasks.bound_outputs()) }
        });
        let stopped = CancellationToken::new();
        let supervising = tokio::task::spawn_blocking({
            let (supervisor, stopped, end_commands) = (self.supervisor, stopped.clone(), self.end_commands);
            move || Handle::current().block_on(supervisor.run(stopped, end_commands))
        });
        let serving = tokio::spawn(listen::serve(self.listener, self.api.router(), self.shutdown.clone(), DRAIN));
        tokio::select! {
            () = ended => {}
            () = self.abdication.cancelled() => {}
        }
        self.shutdown.cancel();
        let served = serving.await;
        docker.abort();
        keeping_house.abort();
        stopped.cancel();
        if let Err(error) = supervising.await {
            tracing::error!(%error, "the supervisor did not end as it should");
        }
        served.map_err(|error| EngineError::Serve(io::Error::other(error)))?;
        if self.abdication.is_cancelled() { Err(EngineError::Abdicated) } else { Ok(()) }
    }
}

/// What an engine calls itself; one that listens everywhere is reached here too.
fn leader(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        ip => ip,
    };
    SocketAddr::new(ip, address.port()).to_string()
}

/// What an earlier engine left of tasks, before anything is launched.
fn take_stock(sandboxes: &Sandboxes, core: &Core) {
    let alive = core.all_instances().filter(|instance| instance.is_alive()).filter_map(Instance::task).collect();
    let last = |task: &TaskId| {
        let instance = core.instance(&task.instance).filter(|instance| instance.incarnation == task.incarnation)?;
        Record::of(instance, core.definition(instance)?)
    };
    sandboxes.take_stock(&alive, last, core.now());
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn machine(state: &Path) -> io::Result<Machine> {
    let cpus = std::thread::available_parallelism()?.get();
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let total =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    let disk = rustix::fs::statvfs(state)?;
    #[allow(clippy::cast_precision_loss, reason = "a machine has fewer than 2^53 bytes of anything")]
    let disk = (disk.f_blocks * disk.f_frsize) as f64 / f64::from(1 << 20);
    Ok(Machine {
        cpus: f64::from(u32::try_from(cpus).unwrap_or(u32::MAX)),
        mem: total.map_or(0.0, |kibibytes: u32| f64::from(kibibytes) / 1024.0),
        disk,
    })
}
