//! The matrix itself: which fault makes sense at which step, and what its push is to say.

use paas::pipeline::FaultPoint;

use super::is_by_dockerfile;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of the process that builds and deploys.
    HookKilled,
    /// `kill -9` of that, of git, and of the session that watches them.
    SessionKilled,
    /// No byte more on the disk of the platform's home.
    DiskFull,
    /// Connections to Docker are reset, and new ones refused.
    DockerAway,
    /// Connections to Docker stay and new ones are taken, and nothing is answered any more, not even a ping.
    DockerHanging,
    RegistryAway,
    RegistryUnauthorized,
    RegistryBroken,
    RegistryHanging,
    /// The connection is reset in the middle of a layer.
    RegistryCut,
    MarathonAway,
    /// It takes connections and never answers.
    MarathonHanging,
    /// Somebody else's deployment has the app.
    MarathonLocked,
    MarathonRefusing,
    /// Its event stream ends, and it answers 503 for a while, as when its leader is lost.
    LeaderLost,
    /// Marathon does what it is asked, and its answers are lost for a while.
    AnswersLost,
    /// The instances never come to pass their check.
    NeverHealthy,
}

impl Fault {
    pub const ALL: [Self; 17] = [
        Self::HookKilled,
        Self::SessionKilled,
        Self::DiskFull,
        Self::DockerAway,
        Self::DockerHanging,
        Self::RegistryAway,
        Self::RegistryUnauthorized,
        Self::RegistryBroken,
        Self::RegistryHanging,
        Self::RegistryCut,
        Self::MarathonAway,
        Self::MarathonHanging,
        Self::MarathonLocked,
        Self::MarathonRefusing,
        Self::LeaderLost,
        Self::AnswersLost,
        Self::NeverHealthy,
    ];
}

/// What is done about a cell of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    Run(Expected),
    NotRun(&'static str),
}

/// How the push ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Its process is gone, and its client is told of no success.
    Death,
    /// It fails with a reason that holds all of these.
    Failure(&'static [&'static str]),
    /// It succeeds all the same.
    Success,
    /// It succeeds if what it writes fits into what room there is, and fails so if not.
    Either(&'static [&'static str]),
}

use Expected::{Death, Either, Failure, Success};
use FaultPoint as At;
use Plan::{NotRun, Run};

/// How the last release is called in the lanes of the matrix.
const STILL_SERVES: &str = "is still serving";

pub fn plan(point: FaultPoint, fault: Fault) -> Plan {
    if is_by_dockerfile(point) {
        return by_dockerfile(point, fault);
    }
    match fault {
        Fault::HookKilled if point == At::Quarantined => {
            NotRun("that hook decides nothing: its death is git's refusal, and is run as the session's")
        }
        Fault::HookKilled | Fault::SessionKilled => Run(Death),
        Fault::DiskFull => disk_full(point),
        Fault::DockerAway => docker_away(point),
        Fault::DockerHanging => docker_hanging(point),
        Fault::RegistryAway | Fault::RegistryCut => registry(point, &["publishing failed", "the registry refused"]),
        Fault::RegistryUnauthorized => registry(point, &["publishing failed", "the registry refused", "auth"]),
        Fault::RegistryBroken => registry(point, &["publishing failed", "the registry refused", "500"]),
        Fault::RegistryHanging => registry(point, &["publishing failed"]),
        Fault::MarathonAway | Fault::MarathonHanging => marathon_silent(point),
        Fault::MarathonLocked => changes_refused(point, &["deploy failed", "holds the app", "-o force"]),
        Fault::MarathonRefusing => changes_refused(point, &["deploy failed", "Object is not valid"]),
        Fault::LeaderLost => leader_lost(point),
        Fault::AnswersLost => answers_lost(point),
        Fault::NeverHealthy => match point {
            At::Posted => Run(Failure(&["deploy failed", "web had 0 of 1 instances up after 20s", STILL_SERVES])),
            _ => NotRun("whether a release comes up is decided when it is posted, and is run there"),
        },
    }
}

/// At these git has the push, and the pipeline is not there yet or any more.
pub fn is_in_gits_hands(point: FaultPoint) -> bool {
    matches!(point, At::Quarantined | At::Admitted | At::RefMoved)
}

fn by_dockerfile(point: FaultPoint, fault: Fault) -> Plan {
    match (point, fault) {
        (At::DockerfileBegun, Fault::SessionKilled) | (At::DockerfileBuilt, Fault::HookKilled) => Run(Death),
        (At::DockerfileBegun, Fault::DockerHanging) => {
            Run(Failure(&["build failed", "cannot reach Docker", "no sign of life"]))
        }
        _ => NotRun(
            "a Dockerfile's build is killed amid its steps and after them, meets a Docker that hangs, and else is like any",
        ),
    }
}

fn disk_full(point: FaultPoint) -> Plan {
    match point {
        At::Quarantined => Run(Failure(&["remote rejected"])),
        At::Admitted => Run(Failure(&["remote rejected", "its operator has to see to it", "is the disk full?"])),
        At::Locked | At::SourceRead => Run(Failure(&["free on the disk", "has to make room"])),
        At::BuildBegun | At::ContainerMade | At::SourceUploaded | At::BuildEnded | At::Committed | At::BuildKept => {
            Run(Failure(&["build failed"]))
        }
        At::Remembered | At::Tagged | At::Published => Run(Failure(&["release failed", "store", "full"])),
        At::Recorded
        | At::ReleaseCommandBegun
        | At::ReleaseCommandEnded
        | At::Deploying
        | At::Posted
        | At::DeploymentNoted
        | At::Served => Run(Either(&["deploy failed", "could not be kept in the store", STILL_SERVES, "full"])),
        At::ServingMarked | At::RefMoved => Run(Success),
        At::DockerfileBegun | At::DockerfileBuilt => unreachable!("`by_dockerfile` has decided"),
        At::RollingBack | At::RolledBack => Run(Failure(&["deploy failed", "web exited with status 1", STILL_SERVES])),
    }
}

fn docker_away(point: FaultPoint) -> Plan {
    const UNREACHED: &[&str] = &["build failed", "cannot reach Docker"];
    match point {
        At::Quarantined | At::Admitted => NotRun("Docker is asked first at Locked, and its absence is run there"),
        At::RefMoved | At::ServingMarked | At::Served | At::DeploymentNoted | At::RollingBack | At::RolledBack => {
            NotRun("a push asks nothing of Docker once its release is posted")
        }
        At::Locked | At::SourceRead => Run(Failure(UNREACHED)),
        At::BuildBegun | At::ContainerMade | At::SourceUploaded | At::BuildEnded | At::Committed => {
            Run(Failure(&["build failed", "Docker"]))
        }
        At::BuildKept | At::Remembered | At::Tagged => Run(Failure(&["publishing failed", "Docker"])),
        At::Recorded | At::ReleaseCommandBegun => Run(Failure(&["the release command failed", "Docker"])),
        At::Published | At::ReleaseCommandEnded | At::Deploying | At::Posted => Run(Success),
        At::DockerfileBegun | At::DockerfileBuilt => unreachable!("`by_dockerfile` has decided"),
    }
}

/// What makes a difference is how Docker is waited for: that it is asked first, for an answer, with a stream, for one.
fn docker_hanging(point: FaultPoint) -> Plan {
    match point {
        At::Locked => Run(Failure(&["build failed", "cannot reach Docker"])),
        At::BuildBegun | At::ContainerMade | At::SourceUploaded | At::BuildEnded => {
            Run(Failure(&["build failed", "cannot reach Docker", "no sign of life"]))
        }
        At::Tagged => Run(Failure(&["publishing failed", "cannot reach Docker", "no sign of life"])),
        _ => {
            NotRun("a Docker that hangs is run once for each way of waiting for it, and elsewhere as one that is away")
        }
    }
}

fn registry(point: FaultPoint, reason: &'static [&'static str]) -> Plan {
    match point {
        At::Tagged => Run(Failure(reason)),
        _ => NotRun("the registry is asked between Tagged and Published alone, and is run at Tagged"),
    }
}

const NOT_ASKED: &str = "nothing is asked of Marathon before the next step that is run, or ever after";

fn marathon_silent(point: FaultPoint) -> Plan {
    match point {
        At::SourceRead | At::Published => Run(Failure(&["the quota cannot be checked", "Marathon"])),
        At::Deploying => Run(Failure(&["deploy failed", "cannot reach Marathon"])),
        At::Posted | At::DeploymentNoted => Run(Failure(&["deploy failed", "cannot reach Marathon", "unknown"])),
        At::RollingBack => Run(Failure(&["deploy failed", "web exited with status 1", "unknown"])),
        _ => NotRun(NOT_ASKED),
    }
}

fn changes_refused(point: FaultPoint, reason: &'static [&'static str]) -> Plan {
    match point {
        At::Deploying => Run(Failure(reason)),
        At::RollingBack => Run(Failure(&["deploy failed", "web exited with status 1", "unknown"])),
        _ => NotRun("nothing is changed in Marathon before the next step that is run, or ever after"),
    }
}

fn leader_lost(point: FaultPoint) -> Plan {
    match point {
        At::SourceRead | At::Published | At::Deploying | At::Posted | At::DeploymentNoted => Run(Success),
        At::RollingBack => Run(Failure(&["deploy failed", "web exited with status 1", STILL_SERVES])),
        _ => NotRun(NOT_ASKED),
    }
}

fn answers_lost(point: FaultPoint) -> Plan {
    match point {
        At::Deploying => Run(Success),
        At::RollingBack => Run(Failure(&["deploy failed", "web exited with status 1", STILL_SERVES])),
        _ => NotRun("nothing is changed in Marathon before the next step that is run, or ever after"),
    }
}
