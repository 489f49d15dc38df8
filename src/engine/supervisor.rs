//! Owns the engine's state: takes in one thing at a time, lets the core decide, writes what changed, and only then acts
//! and answers.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::core::{Core, Effect};
use super::event::Hub;
use super::instance::Handle;
use super::journal::Journal;
use super::reading::Rules;
use super::tasks::{Report, Tasks, end_all, find_process};

/// The state and its past, as questions see them.
#[derive(Debug)]
pub struct Desk {
    pub core: Core,
    pub journal: Journal,
    /// What may be asked for.
    pub rules: Rules,
}

/// The engine ends, and answers no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine is shutting down")]
pub struct Stopped;

type Answer = Box<dyn FnOnce() + Send>;
type Question = Box<dyn FnOnce(&mut Desk) -> Answer + Send>;

/// Asks the owner of the state; cheap to clone.
#[derive(Clone)]
pub struct Asker(mpsc::Sender<Question>);

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asker")
    }
}

impl Asker {
    /// Puts a question to the state, which may also change it. The answer comes when what changed is written. A caller
    /// that goes away undoes nothing.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Desk) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (sender, receiver) = oneshot::channel();
        let question: Question = Box::new(move |desk| {
            let answer = question(desk);
            Box::new(move || {
                // Whoever asked may be gone.
                let _ = sender.send(answer);
            })
        });
        self.0.send(question).await.map_err(|_| Stopped)?;
        receiver.await.map_err(|_| Stopped)
    }
}

/// The one that changes the state.
#[derive(Debug)]
pub struct Supervisor {
    desk: Desk,
    tasks: Tasks,
    hub: Hub,
    clock: Clock,
    questions: mpsc::Receiver<Question>,
    reports: mpsc::UnboundedReceiver<Report>,
}

/// What woke the supervisor.
enum Wake {
    Question(Question),
    Report(Report),
    Timer,
    Shutdown,
}

impl Supervisor {
    /// Questions that wait while one is answered.
    const QUESTIONS: usize = 256;
    /// Reports that are taken in before what follows from them is written, at most.
    const REPORTS_AT_ONCE: usize = 64;

    pub fn new(
        desk: Desk,
        tasks: Tasks,
        hub: Hub,
        clock: Clock,
        reports: mpsc::UnboundedReceiver<Report>,
    ) -> (Self, Asker) {
        let (sender, questions) = mpsc::channel(Self::QUESTIONS);
        (Self { desk, tasks, hub, clock, questions, reports }, Asker(sender))
    }

    /// Keeps what is asked for running until `shutdown`; tasks keep running then, but for the commands with
    /// `end_commands`.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>, end_commands: bool) {
        self.adopt_processes();
        self.follow_up().await;
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let wake = tokio::select! {
                () = &mut shutdown => Wake::Shutdown,
                Some(question) = self.questions.recv() => Wake::Question(question),
                Some(report) = self.reports.recv() => Wake::Report(report),
                () = until_timer(&self.clock, self.desk.core.next_timer()) => Wake::Timer,
            };
            self.desk.core.set_clock(self.clock.now());
            let answer = match wake {
                Wake::Shutdown => break,
                Wake::Question(question) => Some(question(&mut self.desk)),
                Wake::Report(report) => {
                    self.take_in(report);
                    self.take_in_more();
                    None
                }
                Wake::Timer => None,
            };
            self.follow_up().await;
            if let Some(answer) = answer {
                answer();
            }
        }
        if end_commands {
            self.end_commands().await;
        }
        self.tasks.abandon();
    }

    fn take_in_more(&mut self) {
        for _ in 0..Self::REPORTS_AT_ONCE {
            let Ok(report) = self.reports.try_recv() else { return };
            self.take_in(report);
        }
    }

    fn take_in(&mut self, report: Report) {
        let core = &mut self.desk.core;
        match report {
            Report::Launching(task) => core.launching(&task),
            Report::Started { task, handle, address, at } => core.started(&task, &handle, address, at),
            Report::NotLaunched { task, why } => core.not_launched(&task, &why),
            Report::Ended { task, exit } => core.ended(&task, &exit),
            Report::Probed { task, check, outcome } => core.probed(&task, check, &outcome),
            Report::Census { seen, asked } => core.census(&seen, asked),
            Report::DockerDown => core.docker_is_down(),
        }
    }

    /// Decides, writes, acts.
    async fn follow_up(&mut self) {
        self.desk.core.settle();
        self.write().await;
        for effect in self.desk.core.take_effects() {
            match effect {
                Effect::Emit(event) => self.hub.send(&event),
                effect => self.tasks.carry_out(effect),
            }
        }
    }

    /// Writes what changed, however long the disk is full or failing: nothing is acted on, and nobody is answered,
    /// before.
    async fn write(&mut self) {
        const AGAIN: Duration = Duration::from_secs(1);
        let changes = self.desk.core.take_changes();
        if changes.is_empty() {
            return;
        }
        loop {
            let Desk { core, journal, .. } = &mut self.desk;
            match tokio::task::block_in_place(|| journal.write(core, &changes)) {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "cannot write the state, trying again");
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn adopt_processes(&mut self) {
        self.desk.core.set_clock(self.clock.now());
        for (task, handle) in self.desk.core.processes() {
            let found = find_process(&task, handle.as_ref());
            self.desk.core.adopt_process(&task, found);
        }
    }

    async fn end_commands(&mut self) {
        let ending = self.desk.core.suspend_processes();
        self.write().await;
        let processes = ending.into_iter().filter_map(|(_, handle, grace)| match handle {
            Handle::Process { pid, started } => Some((pid, started, grace)),
            Handle::Container(_) => None,
        });
        end_all(processes.collect()).await;
    }
}

async fn until_timer(clock: &Clock, timer: Option<super::Moment>) {
    match timer {
        // Times are whole milliseconds: one more, so that it has come.
        Some(at) => tokio::time::sleep(at.next().since(clock.now())).await,
        None => std::future::pending().await,
    }
}
