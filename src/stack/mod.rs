//! The stack: the builder image that this project makes itself, from debootstrap or on top of another image.
//!
//! What is in it is in `stack/` and carried in the program. The image has two layers: a base with Debian's packages,
//! which takes a minute to make and is kept, and the stack's own files, which take a second.

mod archive;
mod bootstrap;
mod command;
mod content;
mod recipe;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use tokio_util::io::ReaderStream;

use crate::docker::{Docker, DockerError, Image, Layer, LayerError, Tag, labels};
use crate::model::ImageId;

pub use archive::Archive;
pub use recipe::{InvalidName, InvalidSuite, StackName, Suite};

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    Step(&'a str),
    /// A line of output of the step's program.
    Line(&'a str),
}

/// Who is told what is being done.
pub type Say<'a> = &'a (dyn Fn(Progress<'_>) + Send + Sync);

/// What the image is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// A suite of Debian's, by debootstrap; the archive is used when a new system has to be made.
    Suite { suite: Suite, archive: Option<Archive> },
    /// An image of the Debian family, by any name; pulled when it is not here.
    Image(String),
}

/// An image to be made.
#[derive(Debug, Clone)]
pub struct Order {
    pub base: Base,
    pub name: StackName,
    /// Make it though one of the same recipe is there.
    pub force: bool,
    /// Use no base that was made earlier, however young.
    pub fresh: bool,
    /// Where root file systems are made and kept.
    pub folder: PathBuf,
}

/// An image that is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    pub image: Image,
    /// Of which it is made; equal for equal images.
    pub recipe: String,
    /// It was made just now.
    pub made: bool,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error("making a root file system needs root: it installs Debian's packages in it")]
    NotRoot,
    #[error("debootstrap is not installed")]
    NoDebootstrap,
    #[error("apt on this host names no mirror of Debian")]
    NoMirror,
    #[error("Docker has no image `{0}`, and could not pull one")]
    NoBase(String, #[source] DockerError),
    #[error("`{program}` could not be run")]
    NotRun {
        program: String,
        #[source]
        cause: io::Error,
    },
    #[error("`{program}` failed ({status}); the last it said:\n{output}")]
    Failed { program: String, status: ExitStatus, output: String },
    #[error("the stack could not be added to the image (exit status {status}); the last it said:\n{output}")]
    NotProvisioned { status: i64, output: String },
    #[error("{path} has {free} MiB left, and {needed} MiB are needed", path = .path.display())]
    NoSpace { path: PathBuf, needed: u64, free: u64 },
    #[error("cannot work in {path}", path = .path.display())]
    Folder {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// Makes the image that is ordered, unless one of the same recipe has its name already.
/// Dropped half-way, this leaves nothing running; what it leaves on disk is cleared by the next.
pub async fn build(order: &Order, docker: &Docker, say: Say<'_>) -> Result<Stack, StackError> {
    match &order.base {
        Base::Suite { suite, archive } => bootstrapped(order, suite, archive.as_ref(), docker, say).await,
        Base::Image(name) => on_top(order, name, docker, say).await,
    }
}

/// What `paas stack build` would name an image of that suite: equal recipes make equal images.
pub fn recipe(suite: &Suite) -> String {
    recipe::Ingredient::Suite(suite).recipe()
}

async fn bootstrapped(
    order: &Order,
    suite: &Suite,
    archive: Option<&Archive>,
    docker: &Docker,
    say: Say<'_>,
) -> Result<Stack, StackError> {
    let ingredient = recipe::Ingredient::Suite(suite);
    let recipe = ingredient.recipe();
    if let Some(found) = existing(order, &recipe, docker).await? {
        return Ok(found);
    }
    let base = base(order, suite, archive, &ingredient.base(), docker, say).await?;
    let env = [format!("PATH={PATH}"), "LANG=C.UTF-8".to_owned(), format!("STACK=paas-{}", suite.version())];
    finish(order, base, env.into(), false, recipe, docker, say).await
}

async fn on_top(order: &Order, name: &str, docker: &Docker, say: Say<'_>) -> Result<Stack, StackError> {
    let base = match docker.image(name).await? {
        Some(base) => base,
        None => pull(name, docker, say).await?,
    };
    let recipe = recipe::Ingredient::Image(&base.id).recipe();
    if let Some(found) = existing(order, &recipe, docker).await? {
        return Ok(found);
    }
    let env = ["LANG=C.UTF-8".to_owned(), "STACK=paas".to_owned()];
    finish(order, base.id, env.into(), true, recipe, docker, say).await
}

async fn pull(name: &str, docker: &Docker, say: Say<'_>) -> Result<Image, StackError> {
    say(Progress::Step(&format!("Pulling {name}")));
    docker.pull_image(name).await.map_err(|cause| StackError::NoBase(name.to_owned(), cause))?;
    docker.image(name).await?.ok_or_else(|| DockerError::NotFound { what: "image", name: name.to_owned() }.into())
}

/// The image of that name, if it is of that recipe.
async fn existing(order: &Order, recipe: &str, docker: &Docker) -> Result<Option<Stack>, StackError> {
    if order.force || order.fresh {
        return Ok(None);
    }
    let found = docker.image(&order.name.to_string()).await?;
    let same = found.filter(|image| image.labels.get(labels::STACK).is_some_and(|label| label == recipe));
    Ok(same.map(|image| Stack { image, recipe: recipe.to_owned(), made: false }))
}

/// Where programs are, in an image that does not say so itself.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The base with Debian's packages: as Docker has it, as an archive on disk, or made anew.
async fn base(
    order: &Order,
    suite: &Suite,
    archive: Option<&Archive>,
    name: &str,
    docker: &Docker,
    say: Say<'_>,
) -> Result<ImageId, StackError> {
    if !order.fresh
        && let Some(found) = docker.image_labelled((labels::STACK_BASE, name), labels::STACK).await?
    {
        return Ok(found);
    }
    if !rustix::process::geteuid().is_root() {
        return Err(StackError::NotRoot);
    }
    let workshop = bootstrap::Workshop::enter(&order.folder, say).await?;
    let file = match workshop.kept(name).filter(|_| !order.fresh) {
        Some(kept) => kept,
        None => workshop.make(name, suite, archive.ok_or(StackError::NoMirror)?, say).await?,
    };
    say(Progress::Step("Importing the root file system into Docker"));
    let tar = tokio::fs::File::open(&file).await.map_err(|cause| StackError::Folder { path: file.clone(), cause })?;
    Ok(docker.import_image(ReaderStream::with_capacity(tar, 1 << 20), &[(labels::STACK_BASE, name)]).await?)
}

/// Puts the stack's files on the base, and gives the image its name.
async fn finish(
    order: &Order,
    base: ImageId,
    env: Vec<String>,
    provision: bool,
    recipe: String,
    docker: &Docker,
    say: Say<'_>,
) -> Result<Stack, StackError> {
    say(Progress::Step("Adding the builder and its buildpacks"));
    let layer = Layer {
        base,
        files: files(provision).map_err(|cause| StackError::Folder { path: order.folder.clone(), cause })?,
        command: provision.then(provisioning),
        start: vec!["/start".to_owned(), "web".to_owned()],
        env,
        labels: HashMap::from([(labels::STACK.to_owned(), recipe.clone())]),
    };
    let id = add_layer(docker, layer, say).await?;
    name_it(docker, &id, order.name.tag()).await?;
    let missing = || DockerError::NotFound { what: "image", name: id.to_string() };
    Ok(Stack { image: docker.image(id.as_str()).await?.ok_or_else(missing)?, recipe, made: true })
}

fn files(provision: bool) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    content::append(&mut archive, "", content::IMAGE)?;
    if provision {
        content::append(&mut archive, content::PROVISION_FOLDER, content::PROVISION)?;
    }
    archive.into_inner()
}

/// Provisions a container of an image that is not ours, and takes away what that needed.
fn provisioning() -> Vec<String> {
    let folder = Path::new("/").join(content::PROVISION_FOLDER);
    let script = "sh \"$1/provision\" && rm -rf \"$1\"";
    ["/bin/sh", "-c", script, "provision", &folder.to_string_lossy()].map(str::to_owned).into()
}

async fn add_layer(docker: &Docker, layer: Layer, say: Say<'_>) -> Result<ImageId, StackError> {
    let last = std::sync::Mutex::new(Vec::new());
    let said = |line: &str| {
        say(Progress::Line(line));
        if let Ok(mut last) = last.lock() {
            last.push(line.to_owned());
        }
    };
    let made = docker.add_layer(layer, &said).await;
    made.map_err(|error| match error {
        LayerError::Docker(error) => error.into(),
        LayerError::CommandFailed { status } => {
            let lines = last.into_inner().unwrap_or_default();
            let output = lines[lines.len().saturating_sub(command::SHOWN_LINES)..].join("\n");
            StackError::NotProvisioned { status, output }
        }
    })
}

/// The image that had the name before goes, unless a slug still stands on it.
async fn name_it(docker: &Docker, id: &ImageId, tag: &Tag) -> Result<(), DockerError> {
    let before = docker.image(&tag.to_string()).await?;
    docker.tag_image(id, tag).await?;
    if let Some(before) = before.filter(|before| before.id != *id) {
        // Docker refuses while anything needs it, and that is as well.
        let _ = docker.remove_image(before.id.as_str()).await;
    }
    Ok(())
}
