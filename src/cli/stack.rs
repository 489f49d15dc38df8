//! `paas stack`: the builder image that this project makes itself.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use tokio::sync::mpsc;

use crate::docker::{Docker, Socket};
use crate::settings::Settings;
use crate::stack::{self, Archive, Base, Order, Progress, StackError, StackName, Suite};
use crate::ui::{Answer, Exit, Failure, Ui};

/// Make the default builder image
#[derive(Debug, clap::Args)]
pub(super) struct Stack {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Build(BuildStack),
}

/// Make the builder image, with debootstrap or on top of another image
///
/// Does nothing when an image of the same recipe has the name already. With debootstrap it needs root, and about a
/// minute the first time; the root file system that it makes is kept and used again for a week.
#[derive(Debug, clap::Args)]
struct BuildStack {
    /// Put the stack on this image of the Debian family, rather than on a new Debian
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["suite", "mirror"])]
    from: Option<String>,
    /// Name of the image [default: paas/stack:12, with the suite's number]
    #[arg(long, value_name = "NAME[:TAG]")]
    tag: Option<StackName>,
    /// Release of Debian
    #[arg(long, default_value = "bookworm")]
    suite: Suite,
    /// Debian's mirror [default: the one of this host's apt]
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Make the image again, though one of the same recipe is there
    #[arg(long)]
    force: bool,
    /// Use nothing that was kept: a new Debian, with the newest packages
    #[arg(long)]
    fresh: bool,
    /// Where root file systems are made and kept
    #[arg(long, value_name = "DIR", default_value = "/var/cache/paas/stack")]
    cache: PathBuf,
    /// Show what debootstrap and apt say
    #[arg(long, short)]
    verbose: bool,
}

/// The image that is there now.
#[derive(Debug, Serialize)]
struct Answered {
    image: String,
    name: String,
    recipe: String,
    bytes: u64,
    /// False when it was there before.
    made: bool,
}

impl Answer for Answered {
    fn text(&self) -> String {
        self.image.clone()
    }
}

impl Stack {
    pub(super) async fn run(self, settings: &Settings, ui: &mut Ui) -> anyhow::Result<()> {
        match self.verb {
            Verb::Build(build) => build.run(settings, ui).await,
        }
    }
}

impl BuildStack {
    async fn run(self, settings: &Settings, ui: &mut Ui) -> anyhow::Result<()> {
        let docker = Docker::at(Socket(settings.docker.socket.clone()));
        let started = Instant::now();
        let verbose = self.verbose;
        let order = self.into_order();
        let (tell, told) = mpsc::unbounded_channel();
        let work = async {
            let say = |progress: Progress<'_>| {
                // Nobody listens any more only when the command is ending.
                let _ = tell.send(News::from(progress));
            };
            let made = stack::build(&order, &docker, &say).await;
            drop(tell);
            made
        };
        let (built, shown) = tokio::join!(work, show(told, verbose, ui));
        shown?;
        let built = built.map_err(failure)?;
        let (name, seconds) = (&order.name, started.elapsed().as_secs_f64());
        let mebibytes = built.image.bytes >> 20;
        if built.made {
            ui.note(format_args!("{name} is made ({mebibytes} MiB, {seconds:.0} s)"))?;
        } else {
            ui.note(format_args!("{name} is of this recipe already; --force makes it again"))?;
        }
        ui.answer(&Answered {
            image: built.image.id.to_string(),
            name: name.to_string(),
            recipe: built.recipe,
            bytes: built.image.bytes,
            made: built.made,
        })
    }

    fn into_order(self) -> Order {
        let name = self.tag.unwrap_or_else(|| StackName::of_suite(&self.suite));
        let host = Archive::of_host(Path::new("/"), &self.suite);
        let archive = match self.mirror {
            Some(mirror) => Some(Archive::at(mirror, host.as_ref())),
            None => host,
        };
        let base = match self.from {
            Some(image) => Base::Image(image),
            None => Base::Suite { suite: self.suite, archive },
        };
        Order { base, name, force: self.force, fresh: self.fresh, folder: self.cache }
    }
}

/// [`Progress`] that outlives the moment.
#[derive(Debug)]
enum News {
    Step(String),
    Line(String),
}

impl From<Progress<'_>> for News {
    fn from(progress: Progress<'_>) -> Self {
        match progress {
            Progress::Step(text) => Self::Step(text.to_owned()),
            Progress::Line(text) => Self::Line(text.to_owned()),
        }
    }
}

/// A line for each step, and on a terminal what its program says, in passing.
async fn show(mut told: mpsc::UnboundedReceiver<News>, verbose: bool, ui: &mut Ui) -> anyhow::Result<()> {
    let mut next = told.recv().await;
    while let Some(news) = next {
        match news {
            News::Step(step) => ui.note(format_args!("{step}"))?,
            News::Line(line) => ui.note(format_args!("  {}", crate::ui::printable(&line)))?,
        }
        let bar = ui.progress("");
        next = bar.during(passing(&mut told, &bar, verbose)).await;
    }
    Ok(())
}

/// The next news that deserves a line of its own.
async fn passing(told: &mut mpsc::UnboundedReceiver<News>, bar: &crate::ui::Progress, verbose: bool) -> Option<News> {
    loop {
        match told.recv().await? {
            News::Line(line) if !verbose => bar.say(line),
            news => return Some(news),
        }
    }
}

/// What a person can do about it.
fn failure(error: StackError) -> anyhow::Error {
    let failed = |exit, advice: &[&str], error: StackError| {
        let failure = Failure::new(exit, "the builder image was not made").because(error);
        advice.iter().fold(failure, Failure::advise).into()
    };
    match error {
        StackError::Docker(error) => error.into(),
        StackError::NotRoot => failed(
            Exit::Failed,
            &["`sudo paas stack build`", "`paas stack build --from IMAGE`, which needs Docker alone"],
            error,
        ),
        StackError::NoDebootstrap => failed(Exit::Failed, &["`apt-get install debootstrap`"], error),
        StackError::NoMirror => failed(Exit::Failed, &["name one: `paas stack build --mirror URL`"], error),
        StackError::NoBase(..) => failed(Exit::Refused, &["`docker images` shows those that are here"], error),
        StackError::NoSpace { .. } => {
            failed(Exit::Failed, &["free some space, or `--cache DIR` on another disk"], error)
        }
        StackError::Failed { .. } => failed(
            Exit::Failed,
            &["`paas stack build --verbose` shows all it says", "another mirror: `paas stack build --mirror URL`"],
            error,
        ),
        StackError::NotRun { .. } | StackError::NotProvisioned { .. } | StackError::Folder { .. } => {
            failed(Exit::Failed, &[], error)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        stack: Stack,
    }

    fn order(arguments: &[&str]) -> Order {
        let line = Line::try_parse_from(["paas", "build"].iter().chain(arguments)).unwrap();
        let Verb::Build(build) = line.stack.verb;
        build.into_order()
    }

    #[test]
    fn by_default_a_new_debian_gets_the_name_of_its_release() {
        let order = order(&[]);
        assert_eq!(order.name.to_string(), "paas/stack:12");
        assert!(matches!(order.base, Base::Suite { suite, .. } if suite.as_str() == "bookworm"));
        assert!(!order.force && !order.fresh);
    }

    #[test]
    fn a_mirror_that_is_named_wins() {
        let Base::Suite { archive, .. } = order(&["--suite", "trixie", "--mirror", "http://m.example/debian"]).base
        else {
            panic!("debootstrap is for new systems")
        };
        assert_eq!(archive.unwrap().mirror, "http://m.example/debian");
    }

    #[test]
    fn an_image_and_a_suite_are_two_ways() {
        assert_eq!(order(&["--from", "debian:12"]).base, Base::Image("debian:12".to_owned()));
        assert!(Line::try_parse_from(["paas", "build", "--from", "debian:12", "--suite", "trixie"]).is_err());
    }

    #[test]
    fn a_failure_says_what_to_do() {
        let error = failure(StackError::NoDebootstrap);
        let text = crate::ui::explain(&error, false);
        assert!(text.contains("because debootstrap is not installed"), "{text}");
        assert!(text.contains("try: `apt-get install debootstrap`"), "{text}");
    }
}
