//! What is to be fetched: where from, what it is called in the sandbox, what is done with it there.

use std::path::{Component, Path, PathBuf};

use reqwest::Url;

use crate::marathon::Artifact;

/// An artifact of an app's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub source: Source,
    /// Where it is kept, relative to the sandbox and inside of it.
    pub place: PathBuf,
    pub treatment: Treatment,
}

/// Where an artifact is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file of this machine.
    File(PathBuf),
    Web(Url),
}

/// What is done with an artifact once it is in the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    Keep,
    MakeExecutable,
    /// Its contents are put beside it.
    Unpack(Archive),
}

/// What is unpacked, known by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archive {
    Tar(Compression),
    /// A single file.
    Gzip,
    Zip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Bzip2,
    Xz,
}

/// Why an artifact cannot be fetched by any engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidArtifact {
    #[error("is not supported by this engine: it fetches `http:`, `https:` and `file:` URIs, and absolute paths")]
    Scheme,
    #[error("names no file: its path is empty or ends with a slash")]
    Nameless,
    #[error("must be a relative path inside of the sandbox")]
    Destination,
}

impl InvalidArtifact {
    /// The field of the artifact that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Scheme | Self::Nameless => "uri",
            Self::Destination => "destPath",
        }
    }
}

impl Wanted {
    pub fn read(artifact: &Artifact) -> Result<Self, InvalidArtifact> {
        let source = Source::read(&artifact.uri)?;
        let place = match &artifact.dest_path {
            Some(path) => destination(path)?,
            None => PathBuf::from(source.name()?),
        };
        // What is to be executable is no archive, whatever its name says.
        let treatment = match archive(&place) {
            _ if artifact.executable => Treatment::MakeExecutable,
            Some(archive) if artifact.extract => Treatment::Unpack(archive),
            _ => Treatment::Keep,
        };
        Ok(Self { source, place, treatment })
    }
}

impl Source {
    fn read(uri: &str) -> Result<Self, InvalidArtifact> {
        if uri.starts_with('/') {
            return Ok(Self::File(PathBuf::from(uri)));
        }
        if let Some(path) = uri.strip_prefix("file://") {
            let path = path.strip_prefix("localhost").unwrap_or(path);
            return if path.starts_with('/') { Ok(Self::File(path.into())) } else { Err(InvalidArtifact::Scheme) };
        }
        match Url::parse(uri) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Self::Web(url)),
            _ => Err(InvalidArtifact::Scheme),
        }
    }

    /// The last part of its path, as it is written there.
    fn name(&self) -> Result<String, InvalidArtifact> {
        let path = match self {
            Self::File(path) => path.to_string_lossy().into_owned(),
            Self::Web(url) => url.path().to_owned(),
        };
        let name = path.rsplit('/').next().unwrap_or_default();
        if matches!(name, "" | "." | "..") { Err(InvalidArtifact::Nameless) } else { Ok(name.to_owned()) }
    }
}

fn destination(text: &str) -> Result<PathBuf, InvalidArtifact> {
    let path = Path::new(text);
    let parts = || path.components().filter(|part| *part != Component::CurDir);
    let inside = parts().all(|part| matches!(part, Component::Normal(_))) && parts().next().is_some();
    if inside && !text.ends_with('/') { Ok(parts().collect()) } else { Err(InvalidArtifact::Destination) }
}

fn archive(place: &Path) -> Option<Archive> {
    const ENDINGS: [(&str, Archive); 9] = [
        (".tar", Archive::Tar(Compression::None)),
        (".tar.gz", Archive::Tar(Compression::Gzip)),
        (".tgz", Archive::Tar(Compression::Gzip)),
        (".tar.bz2", Archive::Tar(Compression::Bzip2)),
        (".tbz2", Archive::Tar(Compression::Bzip2)),
        (".tar.xz", Archive::Tar(Compression::Xz)),
        (".txz", Archive::Tar(Compression::Xz)),
        (".gz", Archive::Gzip),
        (".zip", Archive::Zip),
    ];
    let name = place.file_name()?.to_str()?;
    ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, archive)| *archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(uri: &str) -> Artifact {
        Artifact { uri: uri.into(), extract: true, executable: false, cache: false, dest_path: None }
    }
    fn place(uri: &str) -> Result<String, InvalidArtifact> {
        Wanted::read(&artifact(uri)).map(|wanted| wanted.place.to_string_lossy().into_owned())
    }

    #[test]
    fn an_artifact_is_called_as_the_end_of_its_path() {
        assert_eq!(place("http://h/a/b.tgz?token=/x.zip#y").unwrap(), "b.tgz");
        assert_eq!(place("https://h:8443/a%2Fb").unwrap(), "a%2Fb");
        assert_eq!(place("file:///etc/hosts").unwrap(), "hosts");
        assert_eq!(place("file://localhost/etc/hosts").unwrap(), "hosts");
        assert_eq!(place("/etc/hosts").unwrap(), "hosts");
        for nameless in ["http://h", "http://h/", "http://h/a/", "http://h/..", "file:///", "/a/.."] {
            assert_eq!(place(nameless), Err(InvalidArtifact::Nameless), "{nameless}");
        }
        for foreign in ["hdfs://h/a", "ftp://h/a", "relative/a", "file://other/a", "s3://b/k", "file:a"] {
            assert_eq!(place(foreign), Err(InvalidArtifact::Scheme), "{foreign}");
        }
    }

    #[test]
    fn a_destination_is_inside_of_the_sandbox() {
        let to = |path: &str| {
            let artifact = Artifact { dest_path: Some(path.into()), ..artifact("http://h/x") };
            Wanted::read(&artifact).map(|wanted| wanted.place.to_string_lossy().into_owned())
        };
        assert_eq!(to("a/./b").unwrap(), "a/b");
        for bad in ["/abs", "../x", "a/../../x", ".", "", "a/.."] {
            assert_eq!(to(bad), Err(InvalidArtifact::Destination), "{bad}");
        }
    }

    #[test]
    fn archives_are_known_by_their_names() {
        let treatment = |uri: &str| Wanted::read(&artifact(uri)).unwrap().treatment;
        for (name, archive) in [
            ("a.tar", Archive::Tar(Compression::None)),
            ("a.tar.gz", Archive::Tar(Compression::Gzip)),
            ("a.tgz", Archive::Tar(Compression::Gzip)),
            ("a.tar.bz2", Archive::Tar(Compression::Bzip2)),
            ("a.tbz2", Archive::Tar(Compression::Bzip2)),
            ("a.tar.xz", Archive::Tar(Compression::Xz)),
            ("a.txz", Archive::Tar(Compression::Xz)),
            ("a.gz", Archive::Gzip),
            ("a.zip", Archive::Zip),
        ] {
            assert_eq!(treatment(&format!("http://h/{name}")), Treatment::Unpack(archive));
        }
        assert_eq!(treatment("http://h/a.jar"), Treatment::Keep);
        let tgz = Artifact { executable: true, ..artifact("http://h/a.tgz") };
        assert_eq!(Wanted::read(&tgz).unwrap().treatment, Treatment::MakeExecutable);
        let kept = Artifact { extract: false, ..artifact("http://h/a.tgz") };
        assert_eq!(Wanted::read(&kept).unwrap().treatment, Treatment::Keep);
    }
}
