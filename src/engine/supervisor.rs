//! Owns the engine's state: takes in what waits, lets the core decide, writes what changed, and only then acts, shows and
//! answers.
//!
//! Whoever only reads never waits here: the [`Board`] shows the state as it was last written. Whoever changes waits for
//! one write, which serves all that were taken in together.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::core::{Core, Effect, State};
use super::event::Hub;
use super::instance::Handle;
use super::journal::Journal;
use super::reading::Rules;
use super::tasks::{Report, Tasks, end_all, find_process};
use crate::model::in_full;

/// The state and its past, as changes see them.
#[derive(Debug)]
pub struct Desk {
    pub core: Core,
    pub journal: Journal,
    /// What may be asked for.
    pub rules: Rules,
}

/// Why a question was not answered. Nothing is different then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error("the engine is shutting down")]
    Stopped,
    #[error(
        "the state cannot be written, so nothing can be changed now: {0}; what runs keeps running, try again later"
    )]
    Unwritable(Arc<str>),
}

type Answer = Box<dyn FnOnce() + Send>;
type Question = Box<dyn FnOnce(Result<&mut Desk, Unanswered>) -> Answer + Send>;

/// Asks the owner of the state; cheap to clone.
#[derive(Clone)]
pub struct Asker(mpsc::Sender<Question>);

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asker")
    }
}

impl Asker {
    /// Puts a question to the state that may change it. The answer comes when what changed is written. A caller that
    /// goes away undoes nothing.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Desk) -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let (sender, receiver) = oneshot::channel();
        let question: Question = Box::new(move |desk| {
            let answer = desk.map(question);
            Box::new(move || {
                // Whoever asked may be gone.
                let _ = sender.send(answer);
            })
        });
        self.0.send(question).await.map_err(|_| Unanswered::Stopped)?;
        receiver.await.unwrap_or(Err(Unanswered::Stopped))
    }
}

/// Shows the state as it was last written; cheap to clone.
#[derive(Debug, Clone)]
pub struct Board {
    shown: Arc<RwLock<State>>,
    clock: Clock,
}

impl Board {
    fn new(state: &State, clock: Clock) -> Self {
        Self { shown: Arc::new(RwLock::new(state.clone())), clock }
    }
    /// The state, as of now.
    pub fn look(&self) -> State {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner).clone();
        shown.at(self.clock.now())
    }
    fn show(&self, state: &State) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = state.clone();
    }
}

/// The one that changes the state.
#[derive(Debug)]
pub struct Supervisor {
    desk: Desk,
    board: Board,
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
    /// Questions that wait while others are answered.
    const QUESTIONS: usize = 256;
    /// How long more is taken in before what follows from it is written: a write takes about as long.
    const TAKING_IN: Duration = Duration::from_millis(2);

    /// The supervisor, whom to ask for changes, and where to read.
    pub fn new(
        desk: Desk,
        tasks: Tasks,
        hub: Hub,
        clock: Clock,
        reports: mpsc::UnboundedReceiver<Report>,
    ) -> (Self, Asker, Board) {
        let (sender, questions) = mpsc::channel(Self::QUESTIONS);
        let board = Board::new(desk.core.state(), clock.clone());
        (Self { desk, board: board.clone(), tasks, hub, clock, questions, reports }, Asker(sender), board)
    }

    /// Keeps what is asked for running until `shutdown`; tasks keep running then, but for the commands with
    /// `end_commands`. It waits for the disk, so it wants a thread of its own.
    pub async fn run(mut self, shutdown: CancellationToken, end_commands: bool) {
        self.adopt_processes();
        let mut goes_on = self.follow_up(&shutdown).await.is_ok();
        while goes_on {
            let wake = tokio::select! {
                () = shutdown.cancelled() => Wake::Shutdown,
                Some(question) = self.questions.recv() => Wake::Question(question),
                Some(report) = self.reports.recv() => Wake::Report(report),
                () = until_timer(&self.clock, self.desk.core.next_timer()) => Wake::Timer,
            };
            self.desk.core.set_clock(self.clock.now());
            let mut answers = Vec::new();
            match wake {
                Wake::Shutdown => break,
                Wake::Question(question) => answers.push(question(Ok(&mut self.desk))),
                Wake::Report(report) => self.take_in(report),
                Wake::Timer => {}
            }
            self.take_in_more(&mut answers);
            goes_on = self.follow_up(&shutdown).await.is_ok();
            if goes_on {
                for answer in answers {
                    answer();
                }
            }
        }
        if end_commands {
            self.end_commands(&shutdown).await;
        }
        self.tasks.abandon();
    }

    /// Takes in what waits besides, for a while: one write serves it all.
    fn take_in_more(&mut self, answers: &mut Vec<Answer>) {
        let begun = Instant::now();
        while begun.elapsed() < Self::TAKING_IN {
            if let Ok(report) = self.reports.try_recv() {
                self.take_in(report);
            } else if let Ok(question) = self.questions.try_recv() {
                // Each question meets a state in which all has followed from those before.
                self.desk.core.settle();
                answers.push(question(Ok(&mut self.desk)));
            } else {
                return;
            }
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
            Report::Readiness { task, result } => core.readied(&task, &result),
            Report::Checked { task, result } => core.checked(&task, result),
            Report::Census { seen, asked } => core.census(&seen, asked),
            Report::DockerDown => core.docker_is_down(),
        }
    }

    /// Decides, writes, acts, shows. Nothing is acted on that was not written.
    async fn follow_up(&mut self, shutdown: &CancellationToken) -> Result<(), Unanswered> {
        self.desk.core.settle();
        self.write(shutdown).await?;
        self.board.show(self.desk.core.state());
        for effect in self.desk.core.take_effects() {
            match effect {
                Effect::Emit(event) => self.hub.send(&event),
                effect => self.tasks.carry_out(effect),
            }
        }
        Ok(())
    }

    /// Writes what changed, however long the disk is full or failing: nothing is acted on, and nobody who asked before
    /// is answered, until it is. Whoever asks meanwhile is told why.
    async fn write(&mut self, shutdown: &CancellationToken) -> Result<(), Unanswered> {
        const AGAIN: Duration = Duration::from_millis(500);
        let changes = self.desk.core.take_changes();
        if changes.is_empty() {
            return Ok(());
        }
        let mut known = None;
        loop {
            let Desk { core, journal, .. } = &mut self.desk;
            let Err(error) = journal.write(core, &changes) else {
                if known.is_some() {
                    tracing::info!("the state is written again");
                }
                return Ok(());
            };
            let reason: Arc<str> = in_full(&error).into();
            if known.as_deref() != Some(&*reason) {
                tracing::error!(reason = &*reason, "cannot write the state, trying again until it works");
                known = Some(reason.clone());
            }
            let again = Instant::now() + AGAIN;
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return Err(Unanswered::Unwritable(reason)),
                    () = tokio::time::sleep_until(again.into()) => break,
                    Some(question) = self.questions.recv() => question(Err(Unanswered::Unwritable(reason.clone())))(),
                }
            }
        }
    }

    fn adopt_processes(&mut self) {
        self.desk.core.set_clock(self.clock.now());
        for (task, handle) in self.desk.core.processes() {
            let found = find_process(&task, handle.as_ref());
            self.desk.core.adopt_process(&task, found);
        }
    }

    async fn end_commands(&mut self, shutdown: &CancellationToken) {
        let ending = self.desk.core.suspend_processes();
        if let Err(error) = self.write(shutdown).await {
            tracing::error!(%error, "commands end with the engine, and it could not note that");
        }
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
