//! git's two hooks: `pre-receive` refuses what must not be stored, `proc-receive` decides, builds and deploys.

use std::io::{Read, Write};
use std::path::PathBuf;

use super::admission::{self, MalformedUpdate, RefUpdate, Verdict};
use super::context::{self, NoSession, PushContext, Way};
use super::detached::Order;
use super::letterbox::{self, Misaddressed};
use super::pkt_line;
use super::request::Repository;
use super::session::NoSuchTenant;
use crate::accounts::access::{self, AccessError, Caller};
use crate::accounts::audit::{AuditLog, Event, Outcome};
use crate::delivery::{Delivery, Terminal};
use crate::git::{self, GitError};
use crate::model::{ByteSize, CommitId, Secret};
use crate::pipeline::{self, Progress, Push, PushOptions, reached};
use crate::settings::{Limits, Settings};
use crate::store::{SqliteStore, StoreError};

/// Which of git's hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Hook {
    PreReceive,
    ProcReceive,
}

/// Why a hook could not do its work. What a push itself did wrong is no such error: it stands in git's ref line.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookError {
    #[error(transparent)]
    NoSession(#[from] NoSession),
    #[error("git's side of the hook broke off")]
    Protocol(#[from] std::io::Error),
    #[error(transparent)]
    Update(#[from] MalformedUpdate),
    #[error("git speaks version {0:?} of the hook's protocol, this program version 1")]
    Version(String),
    #[error("the repository could not be read")]
    Git(#[from] GitError),
    #[error("{0}")]
    TooMuch(String),
    #[error(transparent)]
    Misaddressed(#[from] Misaddressed),
    #[error("{0}, and paas.yml holds no deploy token that is valid for it")]
    NotAddressed(NoSuchTenant),
    #[error("the store could not be asked")]
    Store(#[from] StoreError),
    #[error("it could not be decided who may do this")]
    Access(#[from] AccessError),
}

/// What a hook works with.
#[derive(Debug)]
pub(super) struct HookRun {
    pub(super) push: PushContext,
    pub(super) settings: Settings,
    /// The repository, as git names it to its hooks (`GIT_DIR`).
    pub(super) repository: PathBuf,
    /// This program, which carries detached pushes on.
    pub(super) program: PathBuf,
    /// The list of commits whose parents a shallow push did not bring (`GIT_SHALLOW_FILE`).
    pub(super) shallow: Option<PathBuf>,
}

impl HookRun {
    /// `pre-receive`: the objects are in quarantine still; an error refuses the whole push and leaves no trace.
    pub(super) async fn pre_receive(&self, input: &mut impl Read) -> Result<(), HookError> {
        let mut text = String::new();
        input.read_to_string(&mut text)?;
        let repository = git::Repository::open(&self.repository)?;
        let updates = text.lines().map(RefUpdate::parse).collect::<Result<Vec<_>, _>>()?;
        if self.push.way == Way::Letterbox {
            self.addressed(&updates, &repository).await?;
        }
        for commit in updates.iter().filter_map(|update| update.new.as_ref()) {
            within(&self.settings.limits, &repository, commit)?;
        }
        reached!(Quarantined, self.push.repository.app, self.settings.home.path());
        Ok(())
    }

    /// The token by which what came into a letterbox may be deployed; else an error that tells nothing of the tenant.
    async fn addressed(&self, updates: &[RefUpdate], letterbox: &git::Repository) -> Result<Option<Secret>, HookError> {
        let commit = letterbox::only_deploy(updates)?;
        let Repository { tenant, app } = &self.push.repository;
        let token = letterbox::token(letterbox, commit, tenant)?;
        let store = SqliteStore::open(&self.settings.home.store())?;
        let caller = Caller::Key(self.push.who.clone());
        if access::may_push(&store, &caller, tenant, app, token.as_ref()).await?.is_some() {
            return Ok(token);
        }
        let event = Event::by(&caller, "push", Outcome::Refused).in_tenant(tenant).on(app);
        AuditLog::in_directory(&self.settings.home.audit()).note(&event);
        Err(HookError::NotAddressed(NoSuchTenant { tenant: tenant.clone(), user: self.push.who.user.clone() }))
    }

    /// `proc-receive`: answers for each ref; the push's own failures are answers too.
    pub(super) async fn proc_receive(&self, input: &mut impl Read, output: &mut impl Write) -> Result<(), HookError> {
        let wants_options = greet(input, output)?;
        let updates = pkt_line::read_section(input)?;
        let mut updates = updates.iter().map(|line| RefUpdate::parse(line)).collect::<Result<Vec<_>, _>>()?;
        let options = if wants_options { pkt_line::read_section(input)? } else { Vec::new() };

        // A hook that outlives its session still needs the repository.
        let claim = git::Claim::on(&self.repository)?;
        let target = match self.push.way {
            Way::Door => Target::at(self.repository.clone(), None, None)?,
            Way::Letterbox => self.delivered(&mut updates).await?,
        };
        let has_main = target.repository.reference("refs/heads/main")?.is_some();
        let deploy_branch = admission::deploy_branch(&updates, has_main);
        let texts = options;
        let options = admission::options(&texts);
        let terminal = Terminal::new(std::io::stderr());
        for update in &updates {
            let answer = match &options {
                Err(reason) => Answer::Refused(reason.clone()),
                Ok(options) => self.decide(update, deploy_branch, *options, &texts, &target, &terminal).await,
            };
            self.note(update, &answer);
            answer.write(&update.name, output)?;
        }
        let answered = pkt_line::write_flush(output);
        target.claim.map_or(Ok(()), git::Claim::release)?;
        match self.push.way {
            Way::Door => claim.release()?,
            // Its session may be gone; if not, git still needs it.
            Way::Letterbox => claim.discard()?,
        }
        Ok(answered?)
    }

    /// Brings what came into a letterbox into the app's repository; the updates begin then where its refs are.
    async fn delivered(&self, updates: &mut [RefUpdate]) -> Result<Target, HookError> {
        let letterbox = git::Repository::open(&self.repository)?;
        let token = self.addressed(updates, &letterbox).await?;
        let door = PushContext { way: Way::Door, ..self.push.clone() };
        let path = door.repository_path(&self.settings.home);
        let claim = git::Claim::make(&path, &context::rules(&self.settings))?;
        let repository = git::Repository::open(&path)?;
        // git itself writes the list down only when the push has ended well, and wants to find none until then.
        let list = self.repository.join("shallow");
        self.shallow.as_ref().map_or(Ok(0), |brought| std::fs::copy(brought, &list))?;
        for update in updates {
            update.old = repository.reference(&update.name)?;
            if let Some(commit) = &update.new {
                repository.bring(commit, &self.repository)?;
            }
        }
        self.shallow.as_ref().map_or(Ok(()), |_| std::fs::remove_file(&list))?;
        Ok(Target { path, repository, token, claim: Some(claim) })
    }

    pub(super) fn note(&self, update: &RefUpdate, answer: &Answer) {
        let outcome = match answer {
            // It notes itself how it ends.
            Answer::Detached { .. } => return,
            Answer::Deployed(_) | Answer::Stored => Outcome::Done,
            Answer::Refused(reason) => Outcome::Failed(reason.clone()),
        };
        let what = if matches!(answer, Answer::Stored) { "push (stored)" } else { "push" };
        let Repository { tenant, app } = &self.push.repository;
        let caller = Caller::Key(self.push.who.clone());
        let event = Event::by(&caller, what, outcome).in_tenant(tenant).on(format_args!("{app} {}", update.name));
        AuditLog::in_directory(&self.settings.home.audit()).note(&event);
    }

    async fn decide<W: Write + Send>(
        &self,
        update: &RefUpdate,
        deploy_branch: &str,
        options: PushOptions,
        texts: &[String],
        target: &Target,
        terminal: &Terminal<W>,
    ) -> Answer {
        match admission::admit(update, deploy_branch) {
            Verdict::Refuse { reason } => Answer::Refused(reason),
            Verdict::Store { .. } if self.push.way == Way::Letterbox => Answer::Refused(format!(
                "{deploy_branch} is the branch that deploys this app, and a deploy token is for nothing else"
            )),
            Verdict::Store { note } => {
                if let Some(note) = note {
                    terminal.show(&Progress::Step(note));
                }
                Answer::Stored
            }
            Verdict::Deploy { commit } if options.detach && !options.dry_run && self.can_be_detached(terminal) => {
                self.detach(Order::of(update, &commit, texts, target), terminal)
            }
            Verdict::Deploy { commit } => {
                let options = PushOptions { detach: false, ..options };
                let passed = |progress: &Progress| {
                    if let Progress::Deploying(_) = progress {
                        leave_the_group();
                    }
                };
                match self.deploy(update, &commit, options, target, terminal, &passed).await {
                    Ok(mover) => Answer::Deployed(mover),
                    Err(Refusal { reason, explanation }) => {
                        terminal.refuse(&explanation);
                        Answer::Refused(reason)
                    }
                }
            }
        }
    }

    /// git notes where a shallow history ends only with a ref that it moves itself, so a push that brings such a one is
    /// followed to its end.
    fn can_be_detached<W: Write>(&self, terminal: &Terminal<W>) -> bool {
        let can = self.shallow.is_none() || self.push.way == Way::Letterbox;
        if !can {
            let why = "from a shallow clone a push is not detached, this one is followed to its end";
            terminal.show(&Progress::Warning(format!("{why}; `git fetch --unshallow` lets the next one go")));
        }
        can
    }

    /// Hands the push over to a process that goes on without the client.
    fn detach<W: Write>(&self, order: Order, terminal: &Terminal<W>) -> Answer {
        let home = self.settings.home.path();
        match order.hand_over(&self.program, home, &self.push, terminal) {
            // In a letterbox git may move what it likes, and where the history of a shallow push ends it wants to note.
            Ok(reference) => Answer::Detached { reference, commit: order.commit, fall_through: self.shallow.is_some() },
            Err(Refusal { reason, explanation }) => {
                terminal.refuse(&explanation);
                Answer::Refused(reason)
            }
        }
    }

    /// `passed` hears of each step before anybody is told.
    pub(super) async fn deploy<W: Write + Send>(
        &self,
        update: &RefUpdate,
        commit: &CommitId,
        options: PushOptions,
        target: &Target,
        terminal: &Terminal<W>,
        passed: &(dyn Fn(&Progress) + Send + Sync),
    ) -> Result<Mover, Refusal> {
        reached!(Admitted, self.push.repository.app, self.settings.home.path());
        let Repository { tenant, app } = self.push.repository.clone();
        let caller = Caller::Key(self.push.who.clone());
        let delivery = Delivery { settings: &self.settings, caller, tenant: tenant.clone(), app: app.clone() };
        let platform = delivery.platform(target.token.as_ref()).await;
        let platform = platform.map_err(|error| Refusal::of(error.to_string(), &error))?;
        let push = Push {
            tenant,
            app,
            user: self.push.who.user.clone(),
            push: self.push.id.clone(),
            commit: commit.clone(),
            branch: update.name.clone(),
            previous: update.old.clone(),
            repository: target.path.clone(),
            options,
        };
        let say = |progress: Progress| {
            passed(&progress);
            terminal.show(&progress);
        };
        if options.dry_run {
            let rehearsed = pipeline::rehearse(&push, &platform, &say).await;
            rehearsed.map_err(|error| Refusal::of(error.reason(), &error))?;
            // git says that a ref was moved, or that it was rejected; it was not moved.
            return Err(Refusal::rehearsed());
        }
        let permission = || delivery.permission(target.token.as_ref());
        let released = tokio::select! {
            released = pipeline::run(push, &platform, permission, &say) => released.map_err(|error| Refusal::of(error.reason(), &error))?,
            () = terminal.keep_alive() => unreachable!("it goes on until the pipeline ends"),
        };
        // git writes down where a shallow history ends only together with a ref that it moves itself.
        let mover = if self.shallow.is_some() { Mover::Git } else { Mover::Hook };
        if mover == Mover::Git && self.push.way == Way::Door {
            return Ok(mover);
        }
        // Only now does the ref move, and by our own hand: git may be gone with its client.
        let message = format!("push by {}", self.push.who.user);
        target.repository.move_reference(&update.name, released.branch_at.as_ref(), commit, &message).map_err(
            |error| {
                let why = match &error {
                    GitError::Moved { .. } => "the branch was moved by somebody else",
                    _ => "the branch could not be moved; push again, and nothing is built anew",
                };
                Refusal::of(format!("the release serves, but {why}"), &error)
            },
        )?;
        reached!(RefMoved, self.push.repository.app, self.settings.home.path());
        Ok(mover)
    }
}

/// The app's repository, and by what it is pushed to.
pub(super) struct Target {
    pub(super) path: PathBuf,
    repository: git::Repository,
    /// The deploy token, when the push has one and needs it.
    pub(super) token: Option<Secret>,
    /// On that repository, when it is not the one that git received the push in.
    claim: Option<git::Claim>,
}

impl Target {
    pub(super) fn at(path: PathBuf, token: Option<Secret>, claim: Option<git::Claim>) -> Result<Self, GitError> {
        Ok(Self { repository: git::Repository::open(&path)?, path, token, claim })
    }
}

/// What git is told of one ref.
pub(super) enum Answer {
    /// Its commit serves.
    Deployed(Mover),
    /// Its commit is kept by that ref, and will serve or not.
    Detached {
        reference: String,
        commit: CommitId,
        /// git is to move the ref all the same, where nobody sees it.
        fall_through: bool,
    },
    /// It is only kept; git is to move the ref.
    Stored,
    Refused(String),
}

/// Who moves the ref of what serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mover {
    Hook,
    Git,
}

impl Answer {
    fn write(&self, name: &str, output: &mut impl Write) -> std::io::Result<()> {
        match self {
            Self::Deployed(Mover::Hook) => pkt_line::write(output, &format!("ok {name}")),
            Self::Detached { reference, commit, fall_through } => {
                pkt_line::write(output, &format!("ok {name}"))?;
                pkt_line::write(output, &format!("option refname {reference}"))?;
                pkt_line::write(output, &format!("option old-oid {}", "0".repeat(commit.as_str().len())))?;
                pkt_line::write(output, &format!("option new-oid {commit}"))?;
                if *fall_through { pkt_line::write(output, "option fall-through") } else { Ok(()) }
            }
            Self::Deployed(Mover::Git) | Self::Stored => {
                pkt_line::write(output, &format!("ok {name}"))?;
                pkt_line::write(output, "option fall-through")
            }
            // git's line is one line.
            Self::Refused(reason) => pkt_line::write(output, &format!("ng {name} {}", reason.replace('\n', " "))),
        }
    }
}

/// A push that was refused: a short reason for git's line, and the whole for the terminal.
pub(super) struct Refusal {
    pub(super) reason: String,
    pub(super) explanation: String,
}

impl Refusal {
    pub(super) fn of(reason: String, error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        let explanation = causes.fold(error.to_string(), |text, cause| format!("{text}\n  because {cause}"));
        Self { reason, explanation }
    }

    fn rehearsed() -> Self {
        Self::short("dry run: nothing was changed".to_owned())
    }

    /// One that needs no explanation.
    pub(super) fn short(reason: String) -> Self {
        Self { reason, explanation: String::new() }
    }
}

/// The two sides agree on the protocol; true when push options follow.
fn greet(input: &mut impl Read, output: &mut impl Write) -> Result<bool, HookError> {
    let hello = pkt_line::read_section(input)?;
    let first = hello.first().map_or("", String::as_str);
    let (version, features) = first.split_once('\0').unwrap_or((first, ""));
    if version != "version=1" {
        return Err(HookError::Version(version.chars().take(40).collect()));
    }
    let options = features.split(' ').any(|feature| feature == "push-options");
    pkt_line::write(output, if options { "version=1\0push-options" } else { "version=1" })?;
    pkt_line::write_flush(output)?;
    Ok(options)
}

fn within(limits: &Limits, repository: &git::Repository, commit: &CommitId) -> Result<(), HookError> {
    let at_most = git::Within { files: limits.files, bytes: limits.unpacked.get() };
    let found = repository.summary(commit, at_most)?;
    if at_most.holds(found) {
        return Ok(());
    }
    let (found, allowed) = if found.bytes > at_most.bytes {
        let found = format!("unpacks to {}", ByteSize::new(found.bytes));
        (found, format!("{} are allowed (limits.unpacked)", limits.unpacked))
    } else {
        let (count, what) =
            if found.files > limits.files { (found.files, "files") } else { (found.directories, "directories") };
        (format!("has {count} {what}"), format!("{} are allowed (limits.files)", limits.files))
    };
    Err(HookError::TooMuch(format!(
        "the tree of {} {found} at least, where counting stopped, and {allowed}: commit less, or have the platform's operator \
         raise that",
        commit.short()
    )))
}

/// Out of the process group that the session ends when the client hangs up.
fn leave_the_group() {
    if let Err(error) = rustix::process::setpgid(None, None) {
        tracing::warn!(%error, "the hook could not leave its process group");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository with one commit; its tree is what `root` makes of a directory of so many files.
    fn committed(
        root: impl Fn(&git2::Repository, &dyn Fn(u32) -> git2::Oid) -> git2::Oid,
    ) -> (tempfile::TempDir, git::Repository, CommitId) {
        let directory = tempfile::tempdir().unwrap();
        let repository = git2::Repository::init_bare(directory.path()).unwrap();
        let blob = repository.blob(&[7; 1000]).unwrap();
        let files = |count: u32| {
            let mut tree = repository.treebuilder(None).unwrap();
            (0..count).for_each(|number| drop(tree.insert(number.to_string(), blob, 0o100_644).unwrap()));
            tree.write().unwrap()
        };
        let (tree, who) = (root(&repository, &files), git2::Signature::now("A", "a@b").unwrap());
        let tree = repository.find_tree(tree).unwrap();
        let name = Some("refs/heads/main");
        let commit = repository.commit(name, &who, &who, "many", &tree, &[]).unwrap().to_string().parse().unwrap();
        // As what was pushed is in a pack, in which git finds an object without opening a file for each.
        let mut packed = std::process::Command::new("git");
        assert!(packed.arg("-C").arg(directory.path()).args(["repack", "-adq"]).status().unwrap().success());
        let opened = git::Repository::open(directory.path()).unwrap();
        (directory, opened, commit)
    }

    /// So many directories, all of them one object, and one more.
    fn directories(repository: &git2::Repository, of: &[(u32, git2::Oid)]) -> git2::Oid {
        let mut tree = repository.treebuilder(None).unwrap();
        for (count, id) in of {
            (0..*count).for_each(|number| drop(tree.insert(format!("{id}-{number}"), *id, 0o040_000).unwrap()));
        }
        tree.write().unwrap()
    }

    /// As they are where nobody set any.
    fn defaults() -> Limits {
        let home = tempfile::tempdir().unwrap();
        Settings::load(Some(home.path().to_owned()), std::iter::empty()).unwrap().limits
    }

    #[test]
    fn two_hundred_thousand_files_are_accepted_and_one_more_is_refused_with_limit_and_figure() {
        let (_directory, repository, commit) = committed(|git, files| directories(git, &[(200, files(1000))]));
        within(&defaults(), &repository, &commit).unwrap();
        let (_directory, repository, commit) =
            committed(|git, files| directories(git, &[(200, files(1000)), (1, files(1))]));
        let refused = within(&defaults(), &repository, &commit).unwrap_err().to_string();
        assert!(refused.contains("has 200001 files at least"), "{refused}");
        assert!(refused.contains("200000 are allowed (limits.files)"), "{refused}");
    }

    #[test]
    fn a_tree_that_unpacks_to_too_much_or_is_all_directories_is_refused_with_limit_and_figure() {
        let limits = Limits { files: 10, unpacked: ByteSize::new(6500), ..defaults() };
        let (_directory, repository, commit) = committed(|_, files| files(7));
        let refused = within(&limits, &repository, &commit).unwrap_err().to_string();
        assert!(refused.contains("unpacks to 6.8 KiB at least"), "{refused}");
        assert!(refused.contains("6.3 KiB are allowed (limits.unpacked)"), "{refused}");
        let (_directory, repository, commit) = committed(|git, files| directories(git, &[(11, files(0))]));
        let refused = within(&limits, &repository, &commit).unwrap_err().to_string();
        assert!(refused.contains("has 11 directories at least"), "{refused}");
    }

    #[test]
    fn a_file_of_five_gigabytes_is_within_what_is_allowed() {
        let Limits { pack, unpacked, .. } = defaults();
        assert!(pack.get() > 5_100_000_000 && unpacked.get() > 5_100_000_000, "{pack} {unpacked}");
    }
}
