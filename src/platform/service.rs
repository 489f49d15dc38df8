//! A program that the platform keeps running: started, watched, started again when it died, ended cleanly.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::watch;

use super::process::Process;
use super::tool;

/// How long a program may take until it is ready for the first time.
const START_PATIENCE: Duration = Duration::from_mins(1);
/// The first pause before a program that died is started again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Whoever has run this long is well again: the next pause is the first one.
const RECOVERED: Duration = Duration::from_mins(1);
/// So many last lines are shown of a program that never became ready.
const KEPT_LINES: usize = 12;

/// What to run, as whom, and how to tell that it serves.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    /// The program's absolute path and its arguments.
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<(&'static str, String)>,
    /// The user to become; only root can.
    pub(super) user: Option<String>,
    pub(super) is_ready: fn(&str) -> bool,
    /// From the request to end until it is killed.
    pub(super) patience: Duration,
}

/// What is told about a service.
#[derive(Debug, PartialEq, Eq)]
pub enum Happening {
    /// A line of its own output.
    Said(String),
    Ready,
    /// It ended unasked; it will be started again after the pause.
    Died {
        how: String,
        pause: Duration,
    },
    /// It could not even be started; tried again after the pause.
    NotStarted {
        why: String,
        pause: Duration,
    },
}

/// A service did not come up.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("{name} could not be started")]
    NotStarted {
        name: &'static str,
        #[source]
        cause: io::Error,
    },
    #[error("{name} ended at once, with {how}{said}", said = quoted(.last))]
    EndedAtOnce { name: &'static str, how: ExitStatus, last: Vec<String> },
    #[error("{name} did not become ready within {} s{said}", START_PATIENCE.as_secs(), said = quoted(.last))]
    NotReady { name: &'static str, last: Vec<String> },
}

fn quoted(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("; its last words:\n{}", lines.join("\n")) }
}

/// A started program and its output.
struct Running {
    child: Child,
    out: Option<Lines<BufReader<ChildStdout>>>,
    err: Option<Lines<BufReader<ChildStderr>>>,
}

/// What a running program does next.
enum Next {
    Line(String),
    End(ExitStatus),
}

impl Service {
    /// Keeps the program running until `stop` turns true, then ends it. It fails only when the program does not
    /// become ready the first time; later it is started again as often as it dies.
    ///
    /// The kernel ends the program too when this thread does, so this must not run on a thread that comes and goes.
    pub(super) async fn keep(
        &self,
        stop: &mut watch::Receiver<bool>,
        say: &(dyn Fn(&'static str, Happening) + Sync),
    ) -> Result<(), ServiceError> {
        let Some(mut running) = self.bring_up(stop, say).await? else { return Ok(()) };
        let mut pauses = Pauses::default();
        loop {
            let since = Instant::now();
            let died = tokio::select! {
                how = running.until_its_end(|line| self.tell(line, say)) => how,
                () = turned_true(stop) => break self.end(running, say).await,
            };
            let pause = pauses.next(since.elapsed());
            say(self.name, Happening::Died { how: died, pause });
            match self.start_again(pause, &mut pauses, stop, say).await {
                Some(again) => running = again,
                None => break,
            }
        }
        Ok(())
    }

    /// Runs the program to its end, first after `first` and from then on `every` so long after it ended, until `stop`
    /// turns true. Whether it succeeds is its own to tell.
    pub(super) async fn repeat(
        &self,
        first: Duration,
        every: Duration,
        stop: &mut watch::Receiver<bool>,
        say: &(dyn Fn(&'static str, Happening) + Sync),
    ) {
        let mut pause = first;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = turned_true(stop) => return,
            }
            pause = every;
            match self.start() {
                Ok(mut running) => tokio::select! {
                    _ = running.until_its_end(|line| self.tell(line, say)) => {}
                    () = turned_true(stop) => return self.end(running, say).await,
                },
                Err(error) => say(self.name, Happening::NotStarted { why: error.to_string(), pause }),
            }
        }
    }

    /// Starts it for the first time and waits until it is ready; nothing when `stop` came first.
    async fn bring_up(
        &self,
        stop: &mut watch::Receiver<bool>,
        say: &(dyn Fn(&'static str, Happening) + Sync),
    ) -> Result<Option<Running>, ServiceError> {
        let mut running = self.start().map_err(|cause| ServiceError::NotStarted { name: self.name, cause })?;
        let mut last = Vec::new();
        let deadline = tokio::time::sleep(START_PATIENCE);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                next = running.next() => match next {
                    Next::Line(line) => {
                        let ready = (self.is_ready)(&line);
                        last.push(line.clone());
                        last.drain(..last.len().saturating_sub(KEPT_LINES));
                        self.tell(line, say);
                        if ready {
                            return Ok(Some(running));
                        }
                    }
                    Next::End(how) => return Err(ServiceError::EndedAtOnce { name: self.name, how, last }),
                },
                () = turned_true(stop) => {
                    self.end(running, say).await;
                    return Ok(None);
                }
                () = &mut deadline => {
                    self.end(running, say).await;
                    return Err(ServiceError::NotReady { name: self.name, last });
                }
            }
        }
    }

    /// Pauses and starts, until that works; nothing when `stop` came first.
    async fn start_again(
        &self,
        mut pause: Duration,
        pauses: &mut Pauses,
        stop: &mut watch::Receiver<bool>,
        say: &(dyn Fn(&'static str, Happening) + Sync),
    ) -> Option<Running> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = turned_true(stop) => return None,
            }
            match self.start() {
                Ok(running) => return Some(running),
                Err(error) => {
                    pause = pauses.next(Duration::ZERO);
                    say(self.name, Happening::NotStarted { why: error.to_string(), pause });
                }
            }
        }
    }

    fn tell(&self, line: String, say: &(dyn Fn(&'static str, Happening) + Sync)) {
        let ready = (self.is_ready)(&line);
        say(self.name, Happening::Said(line));
        if ready {
            say(self.name, Happening::Ready);
        }
    }

    /// The whole command line: `setpriv` asks the kernel to end the program when we die, however we do, and becomes
    /// the user with all of its groups.
    fn command_line(&self) -> Vec<String> {
        let mut line = ["setpriv", "--pdeathsig", "TERM"].map(str::to_owned).to_vec();
        if let Some(user) = &self.user {
            line.extend(["--reuid", user, "--regid", user, "--init-groups"].map(str::to_owned));
        }
        line.push("--".to_owned());
        line.extend(self.command.iter().cloned());
        line
    }

    fn start(&self) -> io::Result<Running> {
        let line = self.command_line();
        let mut command = Command::new(tool::find(&line[0]).unwrap_or_else(|| (&line[0]).into()));
        command.args(&line[1..]).env_clear().env("PATH", tool::path()).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A Ctrl-C on our terminal is for us: we end the program in our own order.
        let mut child = command.current_dir("/").process_group(0).kill_on_drop(true).spawn()?;
        let (out, err) = (child.stdout.take().map(lines), child.stderr.take().map(lines));
        Ok(Running { child, out, err })
    }

    /// Asks the program and its children to end, and waits.
    async fn end(&self, mut running: Running, say: &(dyn Fn(&'static str, Happening) + Sync)) {
        let Some(pid) = running.child.id().and_then(|id| i32::try_from(id).ok()) else { return };
        let children = Process::children_of(pid);
        if let Some(pid) = Pid::from_raw(pid) {
            // It may have ended by itself just now, which is what is wanted.
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let ended = running.until_its_end(|line| self.tell(line, say));
        if tokio::time::timeout(self.patience, ended).await.is_err() {
            // The same: whoever cannot be killed is gone.
            let _ = running.child.kill().await;
        }
        for child in children {
            let _ = child.end(self.patience).await;
        }
    }
}

/// Waits until the value is true. It gives nothing, since what `wait_for` gives keeps the value locked.
pub(super) async fn turned_true(value: &mut watch::Receiver<bool>) {
    // A sender that is gone will not turn it any more; all of ours live as long as those who wait.
    let _ = value.wait_for(|value| *value).await;
}

fn lines<R: AsyncRead>(stream: R) -> Lines<BufReader<R>> {
    BufReader::new(stream).lines()
}

impl Running {
    /// The next line, or the end once no line is waiting. Dropping the future loses nothing.
    async fn next(&mut self) -> Next {
        loop {
            let line = tokio::select! {
                biased;
                line = next_line(&mut self.out), if self.out.is_some() => line,
                line = next_line(&mut self.err), if self.err.is_some() => line,
                ended = self.child.wait() => return Next::End(ended.unwrap_or_default()),
            };
            if let Some(line) = line {
                return Next::Line(line);
            }
        }
    }

    /// Hands every line on until the program ends, and says how it did.
    async fn until_its_end(&mut self, mut line: impl FnMut(String)) -> String {
        loop {
            match self.next().await {
                Next::Line(text) => line(text),
                Next::End(how) => return how.to_string(),
            }
        }
    }
}

/// The next line of a stream, which is forgotten at its end. What is no text is no line of a log either.
async fn next_line<R: AsyncRead + Unpin>(stream: &mut Option<Lines<BufReader<R>>>) -> Option<String> {
    let line = match stream {
        Some(lines) => lines.next_line().await,
        None => return std::future::pending().await,
    };
    match line {
        Ok(Some(line)) => Some(line),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
        Ok(None) | Err(_) => {
            *stream = None;
            None
        }
    }
}

/// How long to wait before each new start.
#[derive(Debug, Default)]
struct Pauses {
    last: Option<Duration>,
}

impl Pauses {
    /// The pause after a life of this length.
    fn next(&mut self, lived: Duration) -> Duration {
        let pause = match self.last {
            Some(last) if lived < RECOVERED => (last * 2).min(LONGEST_PAUSE),
            _ => FIRST_PAUSE,
        };
        self.last = Some(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn shell(script: &str) -> Service {
        Service {
            name: "it",
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            environment: vec![("COLOUR", "blue".to_owned())],
            user: None,
            is_ready: |line| line.starts_with("ready"),
            patience: Duration::from_secs(5),
        }
    }

    /// Runs it until `enough` of what happened.
    async fn watch(
        service: Service,
        enough: impl Fn(&[Happening]) -> bool + Sync,
    ) -> (Result<(), ServiceError>, Vec<Happening>) {
        let (stop, mut stopped) = watch::channel(false);
        let all = Mutex::new(Vec::new());
        let say = |_: &'static str, happening| {
            let mut all = all.lock().unwrap();
            all.push(happening);
            if enough(&all) {
                stop.send_replace(true);
            }
        };
        let ended = service.keep(&mut stopped, &say).await;
        (ended, all.into_inner().unwrap())
    }

    #[tokio::test]
    async fn a_service_is_ready_when_it_says_so_and_ends_when_asked() {
        let service = shell("trap 'echo bye; exit 0' TERM; echo ready $COLOUR $HOME; while :; do sleep 0.01; done");
        let (ended, all) = watch(service, |all| all.contains(&Happening::Ready)).await;
        ended.unwrap();
        let said = |text: &str| Happening::Said(text.to_owned());
        assert_eq!(all, [said("ready blue"), Happening::Ready, said("bye")], "and has nothing of our environment");
    }

    #[tokio::test]
    async fn a_service_that_dies_is_started_again() {
        let service = shell("echo ready; exit 7");
        let deaths = |all: &[Happening]| all.iter().filter(|one| matches!(one, Happening::Died { .. })).count();
        let (ended, all) = watch(service, |all| deaths(all) == 2).await;
        ended.unwrap();
        assert!(all.iter().any(|one| matches!(one, Happening::Died { how, .. } if how.contains('7'))), "{all:?}");
    }

    #[tokio::test]
    async fn a_program_is_repeated_until_it_is_to_stop_and_ended_when_it_runs_then() {
        let (stop, mut stopped) = watch::channel(false);
        let runs = Mutex::new(0);
        let marks = tempfile::tempdir().unwrap();
        let script = "n=$(ls $PLACE | wc -l); touch $PLACE/$n; echo run $n; [ $n -lt 2 ] || exec sleep 600";
        let service = Service { environment: vec![("PLACE", marks.path().display().to_string())], ..shell(script) };
        let say = |_: &'static str, happening| {
            let mut runs = runs.lock().unwrap();
            assert_eq!(happening, Happening::Said(format!("run {runs}")));
            *runs += 1;
            if *runs == 3 {
                stop.send_replace(true);
            }
        };
        service.repeat(Duration::ZERO, Duration::from_millis(1), &mut stopped, &say).await;
        assert_eq!(*runs.lock().unwrap(), 3);
    }

    #[tokio::test]
    async fn a_service_that_never_comes_up_is_quoted() {
        let (ended, _) = watch(shell("echo out of cheese >&2; exit 1"), |_| false).await;
        let message = ended.unwrap_err().to_string();
        assert!(message.contains("it ended at once") && message.ends_with("out of cheese"), "{message}");
    }

    #[tokio::test]
    async fn a_service_that_will_not_end_is_killed() {
        let mut service = shell("trap '' TERM; echo ready; while :; do sleep 0.01; done");
        service.patience = Duration::from_millis(100);
        let (ended, _) = watch(service, |all| all.contains(&Happening::Ready)).await;
        ended.unwrap();
    }

    #[test]
    fn pauses_grow_and_are_short_again_after_a_good_while() {
        let mut pauses = Pauses::default();
        let quick: Vec<_> = (0..9).map(|_| pauses.next(Duration::ZERO).as_millis()).collect();
        assert_eq!(quick[..3], [500, 1000, 2000]);
        assert_eq!(quick[8], 30_000);
        assert_eq!(pauses.next(RECOVERED), FIRST_PAUSE);
    }

    #[test]
    fn another_user_is_become_by_setpriv_with_all_its_groups() {
        let service = Service { user: Some("paas".to_owned()), ..shell("true") };
        let line = service.command_line().join(" ");
        assert!(
            line.starts_with("setpriv --pdeathsig TERM --reuid paas --regid paas --init-groups -- /bin/sh"),
            "{line}"
        );
    }
}
