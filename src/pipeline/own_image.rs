//! How the image of a Dockerfile runs: by what it says of itself, where the source does not say it.
//!
//! - The command of a process type is that of paas.yml, else the Procfile's, both for the image's own `/bin/sh -c`; `web`
//!   without one runs as the image says (`ENTRYPOINT` and `CMD`).
//! - The port is the one that the image exposes, of several the lowest, and `$PORT` says the same; an image that exposes
//!   none has to listen on the `$PORT` that it is given, as a slug has.
//! - `web` is healthy when the image's `HEALTHCHECK` says so, unless paas.yml asks for a check.

use std::collections::BTreeMap;

use super::formation::{Check, CheckTimes, Command, Formation, FormationError, WEB};
use crate::docker::{HealthTest, Image, ImageHealth};
use crate::manifest;
use crate::model::ProcessType;

/// What an image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnImage {
    /// TCP ports, the lowest first.
    exposed: Vec<u16>,
    health: Option<ImageHealth>,
    has_command: bool,
}

impl OwnImage {
    pub(super) fn of(image: &Image) -> Self {
        Self {
            exposed: image.exposed.clone(),
            health: image.health.clone(),
            has_command: !image.command.is_empty() || !image.entrypoint.is_empty(),
        }
    }

    /// An image that is not made yet: whatever it says, it is taken to say how it runs.
    pub(super) fn unseen() -> Self {
        Self { exposed: Vec::new(), health: None, has_command: true }
    }

    /// What people are told where the image leaves a choice.
    pub(super) fn note(&self) -> Option<String> {
        let [first, _, ..] = self.exposed.as_slice() else { return None };
        let all: Vec<String> = self.exposed.iter().map(ToString::to_string).collect();
        Some(format!("of the ports that the image exposes ({}), {first} is the one that is reached", all.join(", ")))
    }

    /// The formation, with the image's own word where the source has none. `commands` are the Procfile's.
    pub(super) fn run(
        &self,
        mut formation: Formation,
        commands: &BTreeMap<ProcessType, String>,
        wishes: &BTreeMap<ProcessType, manifest::Process>,
    ) -> Result<Formation, FormationError> {
        for (name, process) in &mut formation {
            let given = match &process.command {
                Command::Exec(command) | Command::Shell(command) => Some(command),
                Command::Start | Command::Image => commands.get(name),
            };
            process.command = match given {
                Some(command) => Command::Shell(command.clone()),
                None if self.has_command => Command::Image,
                None => return Err(FormationError::NoImageCommand(name.clone())),
            };
            let is_web = name.as_str() == WEB;
            if is_web || process.check != Check::None {
                process.port = self.exposed.first().copied();
            }
            let asked = wishes.get(name).and_then(|wish| wish.health.as_ref());
            if let (true, None, Some(health)) = (is_web, asked, &self.health) {
                process.check = check(health);
            }
        }
        Ok(formation)
    }
}

fn check(health: &ImageHealth) -> Check {
    /// Docker's is 30, which whoever waits for a push would wait for too; a command each second is much.
    const INTERVAL: u64 = 2;
    /// Docker's own.
    const TIMEOUT: u64 = 30;
    let command = match &health.test {
        HealthTest::Shell(command) => command.clone(),
        HealthTest::Program(words) => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    };
    // Marathon counts in whole seconds, from one.
    let seconds = |time: std::time::Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let default = CheckTimes::default();
    let times = CheckTimes {
        interval: health.interval.map_or(INTERVAL, seconds),
        grace: health.start_period.map_or(default.grace, seconds),
        timeout: health.timeout.map_or(TIMEOUT, seconds),
        failures: health.retries.unwrap_or(default.failures),
    };
    Check::Command { command, times }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::manifest::{Health, Process as Wish};
    use crate::pipeline::formation::{Process, formation};

    fn image(exposed: &[u16]) -> OwnImage {
        OwnImage { exposed: exposed.to_vec(), health: None, has_command: true }
    }
    fn types(names: &[&str]) -> Vec<ProcessType> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }
    fn run(image: &OwnImage, commands: &[(&str, &str)], wish: Wish) -> Result<Process, FormationError> {
        let wishes = BTreeMap::from([("web".parse().unwrap(), wish)]);
        let commands = commands.iter().map(|(name, text)| (name.parse().unwrap(), (*text).to_owned())).collect();
        let formation = formation(&types(&["web"]), &wishes, None).unwrap();
        image.run(formation, &commands, &wishes).map(|formation| formation[&types(&["web"])[0]].clone())
    }

    #[test]
    fn web_runs_as_the_image_says_unless_the_source_does() {
        let command = |commands: &[(&str, &str)], wish: Option<&str>| {
            let wish = Wish { command: wish.map(str::to_owned), ..Wish::default() };
            run(&image(&[]), commands, wish).unwrap().command
        };
        assert_eq!(command(&[], None), Command::Image);
        assert_eq!(command(&[("web", "./a")], None), Command::Shell("./a".to_owned()));
        assert_eq!(command(&[("web", "./a")], Some("./b")), Command::Shell("./b".to_owned()));
        let silent = OwnImage { has_command: false, ..image(&[]) };
        assert!(matches!(run(&silent, &[], Wish::default()), Err(FormationError::NoImageCommand(_))));
    }

    #[test]
    fn the_lowest_port_that_is_exposed_is_the_one_that_is_reached() {
        for (exposed, port, note) in [
            (&[][..], None, None),
            (&[8080], Some(8080), None),
            (
                &[80, 443],
                Some(80),
                Some("of the ports that the image exposes (80, 443), 80 is the one that is reached"),
            ),
        ] {
            let image = image(exposed);
            assert_eq!(run(&image, &[], Wish::default()).unwrap().port, port);
            assert_eq!(image.note().as_deref(), note);
        }
    }

    #[test]
    fn the_images_health_check_counts_where_none_is_asked_for() {
        let health = ImageHealth {
            test: HealthTest::Program(vec!["/check".to_owned(), "it's".to_owned()]),
            interval: Some(Duration::from_millis(1500)),
            timeout: None,
            start_period: None,
            retries: Some(5),
        };
        let image = OwnImage { health: Some(health), ..image(&[]) };
        let times = CheckTimes { interval: 2, grace: 60, timeout: 30, failures: 5 };
        let expected = Check::Command { command: "'/check' 'it'\\''s'".to_owned(), times };
        assert_eq!(run(&image, &[], Wish::default()).unwrap().check, expected);
        let asked = Wish { health: Some(Health::default()), ..Wish::default() };
        assert_eq!(run(&image, &[], asked).unwrap().check, Check::Tcp(CheckTimes::default()));
    }
}
