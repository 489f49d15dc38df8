//! `-o detach`: a process of its own carries the push on, and git is answered when that has the number of its build.
//!
//! Until then it belongs to the push as the hook does: in git's process group, it ends with its client. From then on it
//! is in a session of its own, and what it says goes to the build's log. git is told the ref that keeps the commit, for
//! the branch moves only when the release serves: `main -> refs/paas/detached/12`.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::admission::{self, RefUpdate};
use super::context::{self, PushContext};
use super::hooks::{Answer, HookError, HookRun, Refusal, Target};
use super::pkt_line::{self, Packet};
use crate::delivery::Terminal;
use crate::git;
use crate::model::{CommitId, Secret};
use crate::pipeline::{Detached, Progress, PushId};

/// What the process is told to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    name: String,
    old: Option<CommitId>,
    pub(super) commit: CommitId,
    /// `git push -o …`
    options: Vec<String>,
    repository: PathBuf,
    token: Option<Secret>,
}

/// What the process tells the hook.
#[derive(Debug, Serialize, Deserialize)]
enum Message {
    Line(String),
    /// It goes on alone, and its commit is kept by this ref.
    Accepted {
        reference: String,
    },
    /// It ended before it went on alone.
    Refused {
        reason: String,
    },
}

impl Order {
    pub(super) fn of(update: &RefUpdate, commit: &CommitId, options: &[String], target: &Target) -> Self {
        Self {
            name: update.name.clone(),
            old: update.old.clone(),
            commit: commit.clone(),
            options: options.to_vec(),
            repository: target.path.clone(),
            token: target.token.clone(),
        }
    }

    /// Has it carried out, and tells what is said until it goes on alone; then gives the ref that keeps the commit.
    pub(super) fn hand_over<W: Write>(
        &self,
        program: &Path,
        home: &Path,
        push: &PushContext,
        terminal: &Terminal<W>,
    ) -> Result<String, Refusal> {
        let broke_off = |cause: &io::Error| Refusal::of("the push could not be detached".to_owned(), cause);
        let mut process = Command::new(program);
        // Its own push: whoever takes back what this one began takes nothing of it.
        let push = PushContext { id: PushId::random(), ..push.clone() };
        process.arg("detached").env_clear().env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8");
        process.env("HOME", home).env(context::HOME, home).envs(push.to_vars()).current_dir("/");
        // Nothing of it may keep the client's connection open.
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = process.spawn().map_err(|cause| broke_off(&cause))?;
        let order = serde_json::to_vec(self).expect("an order is plain values");
        let (mut input, mut output) = (process.stdin.take().expect("piped"), process.stdout.take().expect("piped"));
        // If it ended before it read, that shows in what it says.
        let _ = input.write_all(&order);
        drop(input);
        loop {
            match Message::read(&mut output) {
                Ok(Message::Line(line)) => terminal.line(&line),
                Ok(Message::Accepted { reference }) => return Ok(reference),
                Ok(Message::Refused { reason }) => return Err(Refusal { reason, explanation: String::new() }),
                Err(cause) => {
                    let _ = process.wait();
                    return Err(broke_off(&cause));
                }
            }
        }
    }
}

impl Message {
    fn read(input: &mut impl Read) -> io::Result<Self> {
        match pkt_line::read(input)? {
            Packet::Data(text) => Ok(serde_json::from_slice(&text)?),
            Packet::Flush => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The way to the hook, for as long as that listens.
#[derive(Clone)]
struct Wire(Arc<Mutex<Box<dyn Write + Send>>>);

impl Wire {
    fn tell(&self, message: &Message) {
        let text = serde_json::to_string(message).expect("a message is plain text");
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody needs to listen.
        let _ = pkt_line::write(&mut *out, &text).and_then(|()| out.flush());
    }
}

/// The terminal writes a line at a time.
impl Write for Wire {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.tell(&Message::Line(text.trim_end_matches('\n').to_owned()));
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Carries out the order that is read from `input`.
pub(super) async fn carry_out(
    run: impl FnOnce(PathBuf) -> HookRun,
    input: &mut impl Read,
    output: impl Write + Send + 'static,
) -> Result<(), HookError> {
    let order: Order = serde_json::from_reader(input).map_err(io::Error::from)?;
    let claim = git::Claim::on(&order.repository)?;
    let wire = Wire(Arc::new(Mutex::new(Box::new(output))));
    let kept = Mutex::new(None);
    let run = run(order.repository.clone());
    let answer = deploy(&run, &order, &wire, &kept).await;
    if let Some(reference) = kept.into_inner().unwrap_or_else(PoisonError::into_inner) {
        git::Repository::open(&order.repository)?.remove_references(&reference)?;
    }
    let update = RefUpdate { old: order.old, new: Some(order.commit), name: order.name };
    run.note(&update, &answer);
    if let Answer::Refused(reason) = answer {
        wire.tell(&Message::Refused { reason });
    }
    Ok(claim.release()?)
}

/// Deploys, and goes on alone from where the build or, when nothing is built, the release has its number. Leaves in
/// `kept` the ref that keeps the commit meanwhile.
async fn deploy(run: &HookRun, order: &Order, wire: &Wire, kept: &Mutex<Option<String>>) -> Answer {
    let terminal = Terminal::new(wire.clone());
    let go_on_alone = |progress: &Progress| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let detached = match progress {
            Progress::Building(number) => Detached::Build(*number),
            Progress::Deploying(number) => Detached::Release(*number),
            _ => return,
        };
        if kept.is_some() {
            return;
        }
        match detached.keep(&order.commit, &order.repository) {
            Ok(reference) => *kept = Some(reference.clone()),
            Err(error) => return tracing::warn!(%error, "the commit of a detached push is not kept"),
        }
        leave_the_session();
        terminal.show(&Progress::Step(detached.to_string()));
        wire.tell(&Message::Accepted { reference: detached.reference() });
    };
    let deployed = async {
        let options = admission::options(&order.options).map_err(Refusal::short)?;
        let target = Target::at(order.repository.clone(), order.token.clone(), None)
            .map_err(|error| Refusal::of("the repository cannot be opened".to_owned(), &error))?;
        let update = RefUpdate { old: order.old.clone(), new: Some(order.commit.clone()), name: order.name.clone() };
        run.deploy(&update, &order.commit, options, &target, &terminal, &go_on_alone).await
    };
    match deployed.await {
        Ok(mover) => Answer::Deployed(mover),
        Err(Refusal { reason, explanation }) => {
            terminal.refuse(&explanation);
            Answer::Refused(reason)
        }
    }
}

/// Out of whatever ends with the client: the process group that its session ends, and any terminal.
fn leave_the_session() {
    if let Err(error) = rustix::process::setsid() {
        tracing::warn!(%error, "a detached push could not leave its session");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_arrives_in_order_and_a_hook_that_left_is_missed_by_nobody() {
        let (mut hook, process) = std::os::unix::net::UnixStream::pair().unwrap();
        let wire = Wire(Arc::new(Mutex::new(Box::new(process))));
        Terminal::new(wire.clone()).line("-----> Source");
        wire.tell(&Message::Accepted { reference: "refs/paas/detached/12".to_owned() });
        assert!(matches!(Message::read(&mut hook).unwrap(), Message::Line(line) if line == "-----> Source"));
        let accepted = Message::read(&mut hook).unwrap();
        assert!(matches!(accepted, Message::Accepted { reference } if reference == "refs/paas/detached/12"));
        drop(hook);
        Terminal::new(wire).line("nobody reads this");
    }
}
