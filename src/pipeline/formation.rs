//! What runs of an app: its process types, each with its command, its number of instances and their size.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest;
use crate::model::{Period, ProcessType};

/// A process type as a release runs it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Process {
    pub command: Command,
    pub instances: u32,
    /// Shares of a CPU.
    pub cpus: f64,
    /// MiB.
    pub mem: u64,
    pub check: Check,
    /// Seconds between SIGTERM and SIGKILL.
    pub stop_timeout: Option<u64>,
    #[serde(default)]
    pub constraints: Vec<Vec<String>>,
    /// Where it listens inside its container; without one, on the `$PORT` that it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// How the image is told what to run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// `/start <process type>`: the slug knows the command, from the Procfile or the buildpack.
    Start,
    /// The command of `paas.yml`, in the app's environment.
    Exec(String),
    /// As the image itself says, which is no slug of the buildstep contract but one of a Dockerfile.
    Image,
    /// A command of the source, in such an image.
    Shell(String),
}

/// How an instance shows that it serves.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// It has no port and is only to stay up.
    None,
    Tcp(CheckTimes),
    Http {
        path: String,
        #[serde(flatten)]
        times: CheckTimes,
    },
    /// A command for the shell in the instance's container, which succeeds.
    Command {
        command: String,
        #[serde(flatten)]
        times: CheckTimes,
    },
}

/// All in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CheckTimes {
    pub interval: u64,
    pub grace: u64,
    pub timeout: u64,
    /// How many in a row end the instance.
    pub failures: u32,
}

impl Default for CheckTimes {
    /// A second is Marathon's shortest interval, and what a person who waits for a push notices.
    fn default() -> Self {
        Self { interval: 1, grace: 60, timeout: 5, failures: 3 }
    }
}

/// Why no formation comes of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormationError {
    #[error(
        "there is nothing to run: no Procfile, no `processes` with commands in paas.yml, and the buildpack names none; \
         add a Procfile with a line such as `web: ./serve --port $PORT`"
    )]
    NothingToRun,
    #[error("process `{0}` of paas.yml has no command, and the Procfile has no line for it")]
    NoCommand(ProcessType),
    #[error(
        "process `{0}` has no command: the image says none (`ENTRYPOINT`, `CMD`), nor does the Procfile or paas.yml"
    )]
    NoImageCommand(ProcessType),
}

pub type Formation = BTreeMap<ProcessType, Process>;

/// A quarter of a GiB and a tenth of a CPU hold a small web process; `paas.yml` asks for more.
const DEFAULT_MEM: u64 = 256;
const DEFAULT_CPUS: f64 = 0.1;
/// The process type that people reach.
pub(super) const WEB: &str = "web";

pub(super) fn web() -> ProcessType {
    WEB.parse().expect("it is a process type's name")
}

/// Puts together what runs. `known` are the process types whose command the slug knows; `wishes` are those of
/// `paas.yml`; `before` is what ran last, whose numbers stay where nothing else is said. As with Heroku, one `web`
/// runs unasked, and nothing else.
pub(super) fn formation<'a>(
    known: impl IntoIterator<Item = &'a ProcessType>,
    wishes: &BTreeMap<ProcessType, manifest::Process>,
    before: Option<&Formation>,
) -> Result<Formation, FormationError> {
    let nothing = manifest::Process::default();
    let mut formation = Formation::new();
    for process in known {
        let wish = wishes.get(process).unwrap_or(&nothing);
        formation.insert(process.clone(), granted(wish, process, before));
    }
    for (process, wish) in wishes {
        if !formation.contains_key(process) {
            if wish.command.is_none() {
                return Err(FormationError::NoCommand(process.clone()));
            }
            formation.insert(process.clone(), granted(wish, process, before));
        }
    }
    if formation.is_empty() { Err(FormationError::NothingToRun) } else { Ok(formation) }
}

/// What will run, as far as the source tells before it is built. Without a Procfile the buildpack will say what there
/// is: a `web`, and whatever it said the last time.
pub(super) fn expected(
    procfile: &BTreeSet<ProcessType>,
    wishes: &BTreeMap<ProcessType, manifest::Process>,
    before: Option<&Formation>,
) -> Result<Formation, FormationError> {
    let mut known: BTreeSet<_> = procfile.iter().chain(wishes.keys()).cloned().collect();
    if procfile.is_empty() {
        known.extend(before.into_iter().flatten().map(|(name, _)| name.clone()));
        known.extend(WEB.parse());
    }
    formation(&known, wishes, before)
}

fn granted(wish: &manifest::Process, process: &ProcessType, before: Option<&Formation>) -> Process {
    let is_web = process.as_str() == WEB;
    let last = before.and_then(|formation| formation.get(process)).map(|last| last.instances);
    Process {
        command: wish.command.clone().map_or(Command::Start, Command::Exec),
        instances: wish.instances.or(last).unwrap_or(u32::from(is_web)),
        cpus: wish.cpus.unwrap_or(DEFAULT_CPUS),
        mem: wish.mem.unwrap_or(DEFAULT_MEM),
        check: check(wish.health.as_ref(), is_web),
        stop_timeout: wish.stop_timeout.map(seconds),
        constraints: wish.constraints.iter().flatten().cloned().map(Vec::from).collect(),
        port: None,
    }
}

fn check(wish: Option<&manifest::Health>, is_web: bool) -> Check {
    let Some(health) = wish else {
        return if is_web { Check::Tcp(CheckTimes::default()) } else { Check::None };
    };
    let default = CheckTimes::default();
    let times = CheckTimes {
        interval: health.interval.map_or(default.interval, seconds),
        grace: health.grace.map_or(default.grace, seconds),
        timeout: default.timeout,
        failures: health.failures.unwrap_or(default.failures),
    };
    match &health.path {
        Some(path) => Check::Http { path: path.clone(), times },
        None => Check::Tcp(times),
    }
}

fn seconds(period: Period) -> u64 {
    period.get().as_secs()
}

/// `web=2 worker=1`, as people read it.
pub(super) fn summary(formation: &Formation) -> String {
    let parts: Vec<String> = formation.iter().map(|(name, process)| format!("{name}={}", process.instances)).collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Health, Process as Wish};

    fn types(names: &[&str]) -> Vec<ProcessType> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }
    fn wishes(of: &[(&str, Wish)]) -> BTreeMap<ProcessType, Wish> {
        of.iter().map(|(name, wish)| (name.parse().unwrap(), wish.clone())).collect()
    }
    fn of<'a>(formation: &'a Formation, name: &str) -> &'a Process {
        &formation[&name.parse::<ProcessType>().unwrap()]
    }

    #[test]
    fn one_web_runs_unasked_and_nothing_else() {
        let formation = formation(&types(&["web", "worker"]), &BTreeMap::new(), None).unwrap();
        assert_eq!(summary(&formation), "web=1 worker=0");
        assert_eq!(of(&formation, "web").check, Check::Tcp(CheckTimes::default()));
        assert_eq!(of(&formation, "worker").check, Check::None);
        assert_eq!(of(&formation, "web").command, Command::Start);
    }

    #[test]
    fn numbers_stay_where_nothing_else_is_said() {
        let asked = wishes(&[("web", Wish { instances: Some(3), ..Wish::default() })]);
        let before = formation(&types(&["web", "worker"]), &asked, None).unwrap();
        let silent = formation(&types(&["web", "worker"]), &BTreeMap::new(), Some(&before)).unwrap();
        assert_eq!(summary(&silent), "web=3 worker=0");
        let said = wishes(&[("web", Wish { instances: Some(0), ..Wish::default() })]);
        let said = formation(&types(&["web"]), &said, Some(&before)).unwrap();
        assert_eq!(summary(&said), "web=0");
    }

    #[test]
    fn before_the_build_a_web_is_expected_where_no_procfile_names_what_runs() {
        let asked = wishes(&[("worker", Wish { instances: Some(2), ..Wish::default() })]);
        let silent = |procfile: &[&str], before: Option<&Formation>| {
            summary(&expected(&types(procfile).into_iter().collect(), &asked, before).unwrap())
        };
        assert_eq!(silent(&[], None), "web=1 worker=2");
        assert_eq!(silent(&["worker", "clock"], None), "clock=0 worker=2");
        let many = wishes(&[("web", Wish { instances: Some(3), ..Wish::default() })]);
        let before = formation(&types(&["web", "console"]), &many, None).unwrap();
        assert_eq!(silent(&[], Some(&before)), "console=0 web=3 worker=2");
    }

    #[test]
    fn paas_yml_may_give_the_command() {
        let wish = Wish { command: Some("./serve --port $PORT".to_owned()), ..Wish::default() };
        let formation = formation(&[], &wishes(&[("web", wish)]), None).unwrap();
        assert_eq!(of(&formation, "web").command, Command::Exec("./serve --port $PORT".to_owned()));
    }

    #[test]
    fn nothing_to_run_is_said() {
        assert_eq!(formation(&[], &BTreeMap::new(), None), Err(FormationError::NothingToRun));
        let wish = wishes(&[("worker", Wish::default())]);
        let missing = Err(FormationError::NoCommand("worker".parse().unwrap()));
        assert_eq!(formation(&types(&["web"]), &wish, None), missing);
    }

    #[test]
    fn a_health_wish_is_filled_up_with_defaults() {
        let health =
            Health { path: Some("/healthz".to_owned()), interval: Some(Period::from_secs(2)), ..Health::default() };
        let wish = wishes(&[("api", Wish { health: Some(health), ..Wish::default() })]);
        let formation = formation(&types(&["api"]), &wish, None).unwrap();
        let times = CheckTimes { interval: 2, ..CheckTimes::default() };
        assert_eq!(of(&formation, "api").check, Check::Http { path: "/healthz".to_owned(), times });
    }
}
