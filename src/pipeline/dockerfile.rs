//! A Dockerfile as it is given to Docker: with every image it builds on named by its id, and labels on all it makes.
//!
//! What stands in it comes from whoever may push, and Docker would take any image of the machine by a part of its id:
//! another tenant's slug, with their source in it. So each image is named here, looked at by the caller, and then written
//! into the text by the id that was found. Docker is given what was read here, an instruction a line: what it reads
//! cannot be another than what was judged.

use std::collections::{BTreeMap, BTreeSet};

use crate::docker::labels;
use crate::model::ImageId;

/// An instruction that names an image by this stands for no image.
const SCRATCH: &str = "scratch";

/// A Dockerfile that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dockerfile {
    /// What takes a character's meaning away, and joins lines.
    escape: char,
    instructions: Vec<Instruction>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Instruction {
    /// As it was written, on one line.
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// `FROM`: an image or a stage before it, and the stage's name.
    From {
        image: Image,
        name: Option<String>,
    },
    /// `COPY --from`: an image or a stage, and all else of the instruction.
    CopyFrom {
        image: Image,
        rest: String,
    },
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Image {
    Named(String),
    /// A stage of the same Dockerfile, or `scratch`.
    Stage(String),
}

/// Why a Dockerfile is not built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DockerfileError {
    #[error("there is no file `{0}` in the repository, which the build is to be made by")]
    Missing(String),
    #[error("`{0}` is no UTF-8 text")]
    NoText(String),
    #[error("the Dockerfile's `{0}` cannot be read: it takes an image, and perhaps `AS` with a name")]
    From(String),
    #[error(
        "the Dockerfile's `{0}` cannot be read: before `FROM` stand `$NAME`, `${{NAME}}`, `${{NAME:-…}}` and `${{NAME:+…}}`"
    )]
    Variable(String),
    #[error(
        "the Dockerfile's `{0}` names no image; if that is an `ARG`'s, give it a value, there or in paas.yml, `build: {{env: …}}`"
    )]
    NoImage(String),
    #[error(
        "the Dockerfile's `{0}` cannot be read: its options stand without quotes and backslashes, `--from` without `$`"
    )]
    Option(String),
    #[error(
        "the Dockerfile's `{0}` sets a label of the platform's own, or one whose name is a variable; choose another name"
    )]
    Label(String),
    #[error("the Dockerfile's `{0}` copies from an image when another image is built, which is not allowed; copy here")]
    OnBuild(String),
}

impl Dockerfile {
    /// Reads the text; `arguments` are the values of `ARG`s that are given from outside.
    pub(super) fn read(text: &str, arguments: &BTreeMap<String, String>) -> Result<Self, DockerfileError> {
        let (escape, lines) = logical_lines(text);
        let mut reader = Reader { arguments, global: BTreeMap::new(), stages: Vec::new() };
        let instructions = lines.into_iter().map(|text| Ok(Instruction { kind: reader.kind(&text)?, text }));
        Ok(Self { escape, instructions: instructions.collect::<Result<_, _>>()? })
    }

    /// The images that it names.
    pub(super) fn images(&self) -> BTreeSet<&str> {
        let named = self.instructions.iter().filter_map(|instruction| match &instruction.kind {
            Kind::From { image: Image::Named(name), .. } | Kind::CopyFrom { image: Image::Named(name), .. } => {
                Some(name.as_str())
            }
            _ => None,
        });
        named.collect()
    }

    /// The text for Docker, with `ids` for the images that it names and these labels on every stage; and each of its
    /// instructions as it was written, none for those that were not.
    pub(super) fn pinned(
        &self,
        ids: &BTreeMap<String, ImageId>,
        labels: &BTreeMap<String, String>,
    ) -> (String, Vec<Option<&str>>) {
        let id = |image: &Image| match image {
            // One without an id is named as it was, which Docker does not have either.
            Image::Named(name) => ids.get(name).map_or_else(|| name.clone(), ToString::to_string),
            Image::Stage(name) => name.clone(),
        };
        let mut lines = vec![format!("# escape={}", self.escape)];
        let mut written = Vec::new();
        for instruction in &self.instructions {
            written.push(Some(instruction.text.as_str()));
            match &instruction.kind {
                Kind::From { image, name } => {
                    let name = name.as_ref().map_or_else(String::new, |name| format!(" AS {name}"));
                    lines.extend([format!("FROM {}{name}", id(image)), self.label(labels)]);
                    written.push(None);
                }
                Kind::CopyFrom { image, rest } => lines.push(format!("COPY --from={} {rest}", id(image))),
                Kind::Other => lines.push(instruction.text.clone()),
            }
        }
        (lines.join("\n") + "\n", written)
    }

    fn label(&self, labels: &BTreeMap<String, String>) -> String {
        let quoted = |text: &str| {
            let mut quoted = String::from('"');
            for c in text.chars() {
                if c == '"' || c == '$' || c == self.escape {
                    quoted.push(self.escape);
                }
                quoted.push(c);
            }
            quoted + "\""
        };
        let pairs = labels.iter().map(|(name, value)| format!(" {}={}", quoted(name), quoted(value)));
        pairs.fold("LABEL".to_owned(), |line, pair| line + &pair)
    }
}

/// What is known where an instruction stands.
struct Reader<'a> {
    arguments: &'a BTreeMap<String, String>,
    /// The `ARG`s before the first `FROM`.
    global: BTreeMap<String, String>,
    stages: Vec<Option<String>>,
}

impl Reader<'_> {
    fn kind(&mut self, text: &str) -> Result<Kind, DockerfileError> {
        let (keyword, rest) = split(text);
        match keyword.to_ascii_uppercase().as_str() {
            "ARG" if self.stages.is_empty() => self.argument(text, rest).map(|()| Kind::Other),
            "FROM" => self.from(text, rest),
            "COPY" => self.copy(text, rest),
            "LABEL" if sets_our_label(rest) => Err(DockerfileError::Label(shown(text))),
            "ONBUILD" => judge_trigger(rest).map(|()| Kind::Other),
            _ => Ok(Kind::Other),
        }
    }

    fn argument(&mut self, text: &str, rest: &str) -> Result<(), DockerfileError> {
        for word in words(rest) {
            let (name, default) = word.split_once('=').map_or((word.as_str(), None), |(n, v)| (n, Some(v)));
            let value = match (self.arguments.get(name), default) {
                (Some(given), _) => given.clone(),
                (None, Some(default)) => {
                    self.expanded(default).ok_or_else(|| DockerfileError::Variable(shown(text)))?
                }
                (None, None) => continue,
            };
            self.global.insert(name.to_owned(), value);
        }
        Ok(())
    }

    fn from(&mut self, text: &str, rest: &str) -> Result<Kind, DockerfileError> {
        // The platform is this machine's.
        let (_, rest) = options(text, rest)?;
        let parts: Vec<&str> = rest.split_whitespace().collect();
        let (image, name) = match parts.as_slice() {
            [image] => (*image, None),
            [image, word, name] if word.eq_ignore_ascii_case("as") => (*image, Some((*name).to_owned())),
            _ => return Err(DockerfileError::From(shown(text))),
        };
        if image.contains('\\') || name.as_ref().is_some_and(|name| name.contains(['\\', '"', '\'', '$'])) {
            return Err(DockerfileError::From(shown(text)));
        }
        let image = self.expanded(&image.replace(['"', '\''], ""));
        let image = image.ok_or_else(|| DockerfileError::Variable(shown(text)))?;
        if !is_reference(&image) {
            return Err(DockerfileError::NoImage(shown(text)));
        }
        let image = if image == SCRATCH || self.is_stage(&image) { Image::Stage(image) } else { Image::Named(image) };
        self.stages.push(name.as_ref().map(|name| name.to_lowercase()));
        Ok(Kind::From { image, name })
    }

    fn copy(&self, text: &str, rest: &str) -> Result<Kind, DockerfileError> {
        let (options, rest) = options(text, rest)?;
        let (from, others): (Vec<&str>, Vec<&str>) = options.into_iter().partition(|word| word.starts_with("--from"));
        let Some(image) = from.first() else { return Ok(Kind::Other) };
        let image = image.strip_prefix("--from=").filter(|image| from.len() == 1 && !image.is_empty());
        let image = image.filter(|image| !image.contains('$')).ok_or_else(|| DockerfileError::Option(shown(text)))?;
        if !is_reference(image) {
            return Err(DockerfileError::NoImage(shown(text)));
        }
        let is_number = image.bytes().all(|b| b.is_ascii_digit());
        let name = image.to_owned();
        let image = if is_number || self.is_stage(image) { Image::Stage(name) } else { Image::Named(name) };
        let rest = others.into_iter().chain([rest]).collect::<Vec<_>>().join(" ");
        Ok(Kind::CopyFrom { image, rest })
    }

    fn is_stage(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.stages.iter().flatten().any(|stage| *stage == name)
    }

    /// The text with the values of the variables in it; none for what is no variable that is read here.
    fn expanded(&self, text: &str) -> Option<String> {
        let value = |name: &str| self.global.get(name).map(String::as_str).unwrap_or_default();
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let mut all = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            all += before;
            if let Some(braced) = after.strip_prefix('{') {
                let (inside, after) = braced.split_once('}')?;
                let (name, otherwise) = inside.split_once(':').map_or((inside, None), |(n, o)| (n, Some(o)));
                let found = value(name);
                all += match otherwise.map(|text| (text.get(..1), text.get(1..).unwrap_or_default())) {
                    None => found,
                    Some((Some("-"), default)) if !default.contains('$') => {
                        if found.is_empty() {
                            default
                        } else {
                            found
                        }
                    }
                    Some((Some("+"), instead)) if !instead.contains('$') => {
                        if found.is_empty() {
                            ""
                        } else {
                            instead
                        }
                    }
                    Some(_) => return None,
                };
                if !is_name(name) {
                    return None;
                }
                rest = after;
            } else {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                let (name, after) = after.split_at(end);
                if !is_name(name) {
                    return None;
                }
                all += value(name);
                rest = after;
            }
        }
        Some(all + rest)
    }
}

/// Whether it is an image's name, or its id or a stage's name; it becomes part of a path of Docker's API.
fn is_reference(name: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:@-".contains(&b));
    name.len() <= 512
        && name.split('/').all(|part| is_part(part) && part.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// The character that joins lines, and each instruction as one line.
fn logical_lines(text: &str) -> (char, Vec<String>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let escape = directives(text);
    let (mut lines, mut pending) = (Vec::new(), None::<String>);
    for line in text.lines() {
        let is_comment = line.trim_start().starts_with('#');
        if is_comment || line.trim().is_empty() {
            // Within an instruction they count nothing either.
            continue;
        }
        let so_far = pending.take();
        let line = if so_far.is_some() { line } else { line.trim_start() };
        let trimmed = line.trim_end_matches([' ', '\t', '\r']);
        let joined = |part: &str| so_far.clone().unwrap_or_default() + part;
        match trimmed.strip_suffix(escape) {
            Some(part) => pending = Some(joined(part)),
            None => lines.push(joined(line)),
        }
    }
    lines.extend(pending);
    let whole = |line: String| line.trim().trim_end_matches(|c: char| c == escape || c.is_whitespace()).to_owned();
    (escape, lines.into_iter().map(whole).filter(|line| !line.is_empty()).collect())
}

/// What the comments at the very top say of the escape character.
fn directives(text: &str) -> char {
    let mut escape = '\\';
    for line in text.lines() {
        let Some((name, value)) = line.trim_start().strip_prefix('#').and_then(|rest| rest.split_once('=')) else {
            break;
        };
        if name.trim().eq_ignore_ascii_case("escape") && value.trim() == "`" {
            escape = '`';
        }
    }
    escape
}

/// The first word, and what follows it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

/// The words that begin with `--`, and what follows them.
fn options<'a>(instruction: &str, mut rest: &'a str) -> Result<(Vec<&'a str>, &'a str), DockerfileError> {
    let mut all = Vec::new();
    while rest.starts_with("--") {
        let (word, after) = split(rest);
        if word.contains(['"', '\'', '\\']) {
            return Err(DockerfileError::Option(shown(instruction)));
        }
        rest = after;
        if word == "--" {
            break;
        }
        all.push(word);
    }
    Ok((all, rest))
}

/// Words, with what stands in quotes in one; the quotes go.
fn words(text: &str) -> Vec<String> {
    let (mut all, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => all.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    all.extend(word);
    all
}

/// Whether a `LABEL` with this behind it sets a label that says something to the platform, or may do so.
pub(super) fn sets_our_label(rest: &str) -> bool {
    let plain = rest.replace(['"', '\'', '\\', '`'], "");
    let name_is_variable = |word: &str| match word.split_once('=') {
        Some((name, _)) => name.contains('$'),
        None => plain.starts_with('$') && plain.starts_with(word),
    };
    plain
        .split_whitespace()
        .any(|word| labels::is_ours(word.split('=').next().unwrap_or(word)) || name_is_variable(word))
}

/// What an image does when another one is built on it: it may neither copy from images nor set labels of ours.
pub(super) fn judge_trigger(trigger: &str) -> Result<(), DockerfileError> {
    let plain = trigger.replace(['"', '\'', '\\', '`'], "");
    let (keyword, rest) = split(&plain);
    if keyword.eq_ignore_ascii_case("label") && sets_our_label(rest) {
        return Err(DockerfileError::Label(shown(&format!("ONBUILD {trigger}"))));
    }
    if plain.contains("--from") {
        return Err(DockerfileError::OnBuild(shown(&format!("ONBUILD {trigger}"))));
    }
    Ok(())
}

/// As much of an instruction as a message has room for.
fn shown(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().nth(MOST).is_some() { text.chars().take(MOST).chain(['…']).collect() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: &str) -> ImageId {
        format!("sha256:{}", digit.repeat(64)).parse().unwrap()
    }
    fn args(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }
    fn read(text: &str) -> Dockerfile {
        Dockerfile::read(text, &BTreeMap::new()).unwrap()
    }
    fn images(text: &str, arguments: &[(&str, &str)]) -> Vec<String> {
        let read = Dockerfile::read(text, &args(arguments)).unwrap();
        read.images().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn every_image_is_named_by_its_id_and_every_stage_is_labelled() {
        let text = "# syntax=docker/dockerfile:1\nARG V=3\nfrom --platform=linux/amd64 go:$V as Build\nRUN make \\\n  # why\n\n  all\n\
                    FROM scratch\nCOPY --chown=1:1 --from=build /out /\nCOPY --from=tools:1 /bin/t /t\nCOPY --from=0 /x /x\nCOPY . .\n";
        let ids = BTreeMap::from([("go:3".to_owned(), id("a")), ("tools:1".to_owned(), id("b"))]);
        let read = read(text);
        let (pinned, written) = read.pinned(&ids, &args(&[("paas.home", "/a \"$b\\")]));
        let label = "LABEL \"paas.home\"=\"/a \\\"\\$b\\\\\"";
        let (a, b) = (id("a"), id("b"));
        assert_eq!(
            pinned,
            format!(
                "# escape=\\\nARG V=3\nFROM {a} AS Build\n{label}\nRUN make   all\nFROM scratch\n{label}\n\
                 COPY --from=build --chown=1:1 /out /\nCOPY --from={b} /bin/t /t\nCOPY --from=0 /x /x\nCOPY . .\n"
            )
        );
        assert_eq!(written.len(), 10);
        assert_eq!((written[0], written[2]), (Some("ARG V=3"), None));
        assert_eq!(written[1], Some("from --platform=linux/amd64 go:$V as Build"));
    }

    #[test]
    fn images_are_named_by_variables_with_values_from_inside_and_outside() {
        for (text, arguments, expected) in [
            ("FROM a", &[][..], &["a"][..]),
            ("ARG B=x\nFROM ${B}:1", &[], &["x:1"]),
            ("ARG B=x\nFROM ${B}:1", &[("B", "y")], &["y:1"]),
            ("FROM ${B:-z}", &[("B", "not declared")], &["z"]),
            ("ARG B\nFROM ${B:-z}", &[("B", "y")], &["y"]),
            ("ARG B=y\nFROM z${B:+:1}", &[], &["z:1"]),
            ("ARG A=1 B=\"x y\"\nARG C=$A\nFROM i:$C", &[], &["i:1"]),
            ("FROM a AS b\nFROM B\nCOPY --from=c / /", &[], &["a", "c"]),
            ("# escape=`\nFROM `\n b", &[], &["b"]),
            ("FROM \"a\"", &[], &["a"]),
            ("FROM scratch", &[], &[]),
        ] {
            // A line that is no instruction is for Docker to refuse.
            assert_eq!(images(text, arguments), expected, "{text:?}");
        }
    }

    #[test]
    fn what_could_name_an_image_unseen_is_refused() {
        use DockerfileError as E;
        type Why = fn(String) -> E;
        for (text, why) in [
            ("FROM", E::From as Why),
            ("FROM a b", E::From),
            ("FROM a\\b", E::From),
            ("FROM a AS $b", E::From),
            ("FROM $B", E::NoImage),
            ("FROM ../containers/x", E::NoImage),
            ("FROM a/../../containers/x", E::NoImage),
            ("FROM a?b=c", E::NoImage),
            ("FROM a//b", E::NoImage),
            ("FROM a\nCOPY --from=../x / /", E::NoImage),
            ("FROM ${B%x}", E::Variable),
            ("FROM ${B:-$C}", E::Variable),
            ("FROM --platf\"o\"rm=x a", E::Option),
            ("FROM a\nCOPY --fr\"om\"=b / /", E::Option),
            ("FROM a\nCOPY --fr\\om=b / /", E::Option),
            ("FROM a\nCOPY --from=$B / /", E::Option),
            ("FROM a\nCOPY --from b / /", E::Option),
            ("FROM a\nCOPY --from=b --from=c / /", E::Option),
            ("FROM a\nONBUILD COPY --fr\"om\"=b / /", E::OnBuild),
            ("FROM a\nONBUILD LABEL paas.stack.base=x", E::Label),
            ("FROM a\nLABEL a=b paas.slug=x", E::Label),
            ("FROM a\nLABEL pa\"as.s\"lug=x", E::Label),
            ("FROM a\nLABEL pa$x=y", E::Label),
            ("FROM a\nLABEL $x y", E::Label),
            ("FROM a\nLABEL MESOS_TASK_ID=x", E::Label),
        ] {
            let refused = Dockerfile::read(text, &BTreeMap::new()).unwrap_err();
            assert_eq!(
                std::mem::discriminant(&refused),
                std::mem::discriminant(&why(String::new())),
                "{text:?}: {refused}"
            );
        }
        for fine in ["LABEL a=$b", "LABEL a=\"b paas\" c=d", "ONBUILD COPY . /app", "RUN echo --from", "LABEL a $b"] {
            assert!(Dockerfile::read(&format!("FROM a\n{fine}"), &BTreeMap::new()).is_ok(), "{fine}");
        }
    }
}
