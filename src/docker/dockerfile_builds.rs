//! Builds of Dockerfiles, by the builder that is part of every Docker.
//!
//! Not by `BuildKit`: it takes no limit of memory or CPUs for a build, and wants a session of gRPC or a program (`buildx`)
//! that Debian's package of Docker does not bring. Not by bollard either, which counts memory in 32 bits: 2 GiB, the usual
//! limit, are more.

use std::collections::{BTreeMap, HashMap};
use std::io;

use bollard::query_parameters::{EventsOptionsBuilder, ListImagesOptionsBuilder};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;

use super::{Docker, DockerError, Labels, ListedImage};
use crate::model::ImageId;

/// Longest line of Docker's answer, in bytes; what a step writes comes in pieces of 32 KiB at most.
const LONGEST: usize = 1 << 20;

/// How Docker is to build.
#[derive(Debug, Clone)]
pub struct DockerfileBuild {
    /// Its path in the archive.
    pub dockerfile: &'static str,
    /// The stage that is wanted; none: the last.
    pub target: Option<String>,
    /// Values of `ARG`s. They can be read in the image's history.
    pub arguments: BTreeMap<String, String>,
    /// Of the image that is made. What steps leave has those that the Dockerfile gives it.
    pub labels: HashMap<String, String>,
    /// For each step; no swap on top.
    pub memory_bytes: u64,
    pub cpus: Option<f64>,
    /// Do every step anew.
    pub no_cache: bool,
}

/// What Docker tells of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildPiece {
    /// Text, of a step or about it; not necessarily a line.
    Text(String),
    /// The image of a stage; the last one is what was wanted.
    Image(ImageId),
    /// It came to nothing. The status is that of the command that failed, if one did.
    Failed { status: Option<i64>, message: String },
}

/// A line of the answer.
#[derive(Debug, Deserialize)]
struct Line {
    stream: Option<String>,
    status: Option<String>,
    aux: Option<Aux>,
    #[serde(rename = "errorDetail")]
    error: Option<ErrorDetail>,
}

#[derive(Debug, Deserialize)]
struct Aux {
    #[serde(rename = "ID")]
    id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ErrorDetail {
    code: Option<i64>,
    #[serde(default)]
    message: String,
}

impl Docker {
    /// Builds what the archive holds, and tells of it as it goes. Docker ends the build when the stream is dropped, and
    /// removes the container of its step; images of steps stay, found by the labels that the Dockerfile gives them.
    pub async fn build_dockerfile(
        &self,
        build: DockerfileBuild,
        tar: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
    ) -> Result<BoxStream<'static, Result<BuildPiece, DockerError>>, DockerError> {
        let mut url = reqwest::Url::parse("http://docker/build").expect("it is a URL");
        url.query_pairs_mut().extend_pairs(build.query());
        let request = self.raw.get(&self.socket).post(url);
        let request = request.header(CONTENT_TYPE, "application/x-tar").body(reqwest::Body::wrap_stream(tar));
        // It takes the source before it answers.
        let sent = self.vigil.during(request.send()).await.map_err(|silent| self.silent(silent))?;
        let answer = sent.map_err(|cause| self.build_failure(io::Error::other(cause.without_url())))?;
        if !answer.status().is_success() {
            let text = answer.text().await.unwrap_or_default();
            let refused = serde_json::from_str::<Refused>(&text).map_or(text, |refused| refused.message);
            let failed = BuildPiece::Failed { status: None, message: refused };
            return Ok(futures_util::stream::iter([Ok(failed)]).boxed());
        }
        let docker = self.clone();
        let mut lines = JsonLines::default();
        let pieces = self.vigil.along(answer.bytes_stream()).map(move |bytes| match bytes {
            Ok(Ok(bytes)) => lines.feed(&bytes).map_err(|cause| docker.build_failure(cause)),
            Ok(Err(cause)) => Err(docker.build_failure(io::Error::other(cause.without_url()))),
            Err(silent) => Err(docker.silent(silent)),
        });
        Ok(pieces.map_ok(|pieces| futures_util::stream::iter(pieces).map(Ok)).try_flatten().boxed())
    }

    fn build_failure(&self, err: io::Error) -> DockerError {
        self.failure("build the Dockerfile", bollard::errors::Error::IOError { err })
    }

    /// Whether a container with all of these labels, one that may be gone, came to the end of its memory since then (seconds
    /// since 1970), as far as Docker remembers: its last 256 events. Docker may hear of it a moment after the container's
    /// end, for which this waits at most two seconds.
    pub async fn ran_out_of_memory(&self, labels: Labels<'_>, since: i64) -> Result<bool, DockerError> {
        let until = jiff::Timestamp::now().as_second() + 1;
        let mut filters = super::labelled::filter(labels);
        let more = [("type", "container"), ("event", "oom")];
        filters.extend(more.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])));
        let (since, until) = (since.to_string(), until.to_string());
        let options = EventsOptionsBuilder::new().since(&since).until(&until).filters(&filters).build();
        let found = self.api().await?.events(Some(options)).try_next().await;
        Ok(found.map_err(|cause| self.failure("report what containers did", cause))?.is_some())
    }

    /// The images with all of these labels, also those that others are built on; the newest first.
    pub async fn layers_with(&self, labels: Labels<'_>) -> Result<Vec<ListedImage>, DockerError> {
        let filters = super::labelled::filter(labels);
        let options = ListImagesOptionsBuilder::new().all(true).filters(&filters).build();
        let found = self.api().await?.list_images(Some(options)).await;
        let found = found.map_err(|cause| self.failure("list images", cause))?;
        Ok(found.into_iter().filter_map(ListedImage::read).collect())
    }
}

#[derive(Debug, Deserialize)]
struct Refused {
    message: String,
}

impl DockerfileBuild {
    fn query(&self) -> Vec<(&'static str, String)> {
        /// Docker's own, in microseconds.
        const PERIOD: f64 = 100_000.0;
        let json = |value: &BTreeMap<&String, &String>| serde_json::to_string(value).expect("a map of texts");
        let memory = i64::try_from(self.memory_bytes).unwrap_or(i64::MAX).to_string();
        let mut query = vec![
            ("dockerfile", self.dockerfile.to_owned()),
            ("rm", "1".to_owned()),
            // Also those of steps that failed.
            ("forcerm", "1".to_owned()),
            ("memory", memory.clone()),
            // Swap included: none on top.
            ("memswap", memory),
            ("nocache", u8::from(self.no_cache).to_string()),
            ("buildargs", json(&self.arguments.iter().collect())),
            ("labels", json(&self.labels.iter().collect())),
        ];
        query.extend(self.target.clone().map(|target| ("target", target)));
        if let Some(cpus) = self.cpus {
            #[allow(clippy::cast_possible_truncation, reason = "a count of CPUs times 10^5 is far below 2^53")]
            let quota = (cpus * PERIOD).round() as i64;
            query.extend([("cpuperiod", format!("{PERIOD}")), ("cpuquota", quota.to_string())]);
        }
        query
    }
}

/// Takes apart Docker's answer: an object a line, cut anywhere.
#[derive(Debug, Default)]
struct JsonLines {
    pending: Vec<u8>,
}

impl JsonLines {
    fn feed(&mut self, bytes: &[u8]) -> io::Result<Vec<BuildPiece>> {
        let mut pieces = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.pending);
                if !line.trim_ascii().is_empty() {
                    pieces.extend(serde_json::from_slice::<Line>(&line).map_err(io::Error::other)?.into_piece());
                }
            } else if self.pending.len() > LONGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of the answer does not end"));
            }
        }
        Ok(pieces)
    }
}

impl Line {
    fn into_piece(self) -> Option<BuildPiece> {
        if let Some(ErrorDetail { code, message }) = self.error {
            return Some(BuildPiece::Failed { status: code.filter(|code| *code != 0), message });
        }
        if let Some(id) = self.aux.and_then(|aux| aux.id).and_then(|id| id.parse().ok()) {
            return Some(BuildPiece::Image(id));
        }
        self.stream.or_else(|| self.status.map(|status| status + "\n")).map(BuildPiece::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_answer_is_read_however_it_was_cut() {
        let id = format!("sha256:{}", "a".repeat(64));
        let answer = format!(
            "{{\"stream\":\"Step 1/2 : FROM x\"}}\r\n{{\"stream\":\"\\n\"}}\r\n{{\"aux\":{{\"ID\":\"{id}\"}}}}\r\n\
             {{\"status\":\"Pulling\",\"progressDetail\":{{}}}}\r\n\
             {{\"errorDetail\":{{\"code\":3,\"message\":\"returned 3\"}},\"error\":\"returned 3\"}}\r\n\
             {{\"errorDetail\":{{\"message\":\"no such file\"}}}}\r\n"
        );
        let expected = [
            BuildPiece::Text("Step 1/2 : FROM x".to_owned()),
            BuildPiece::Text("\n".to_owned()),
            BuildPiece::Image(id.parse().unwrap()),
            BuildPiece::Text("Pulling\n".to_owned()),
            BuildPiece::Failed { status: Some(3), message: "returned 3".to_owned() },
            BuildPiece::Failed { status: None, message: "no such file".to_owned() },
        ];
        for size in [1, 7, answer.len()] {
            let mut lines = JsonLines::default();
            let read = answer.as_bytes().chunks(size).flat_map(|bytes| lines.feed(bytes).unwrap());
            assert_eq!(read.collect::<Vec<_>>(), expected, "in pieces of {size}");
        }
        assert!(JsonLines::default().feed(b"no json\n").is_err());
        assert!(JsonLines::default().feed(&vec![b'x'; LONGEST + 1]).is_err());
    }

    #[test]
    fn a_build_has_limits_and_leaves_no_container() {
        let build = DockerfileBuild {
            dockerfile: "D",
            target: Some("prod".to_owned()),
            arguments: BTreeMap::from([("A".to_owned(), "\"1&\"".to_owned())]),
            labels: HashMap::new(),
            memory_bytes: 3 << 30,
            cpus: Some(1.5),
            no_cache: true,
        };
        let query: HashMap<_, _> = build.query().into_iter().collect();
        for (name, value) in [
            ("memory", "3221225472"),
            ("memswap", "3221225472"),
            ("cpuperiod", "100000"),
            ("cpuquota", "150000"),
            ("rm", "1"),
            ("forcerm", "1"),
            ("nocache", "1"),
            ("target", "prod"),
            ("buildargs", "{\"A\":\"\\\"1&\\\"\"}"),
        ] {
            assert_eq!(query[name], value, "{name}");
        }
    }
}
