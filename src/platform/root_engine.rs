//! The root engine as a process: how it is started, and how it is recognised.

use std::net::SocketAddr;

use crate::docker::labels;
use crate::model::Secret;
use crate::settings::{Home, Settings};

/// Arguments of `paas` that run the root engine: the one engine that may run commands, since the tenants' engines
/// are commands to it, and they end with it.
pub(super) fn arguments(settings: &Settings) -> Vec<String> {
    let engine = &settings.engine;
    let home = settings.home.path().display();
    let pairs = [
        ("--listen", SocketAddr::new(engine.listen, engine.port).to_string()),
        ("--state", settings.home.root_engine().display().to_string()),
        ("--address", engine.address.to_string()),
        ("--ports", format!("{}-{}", engine.ports.start(), engine.ports.end())),
        ("--docker", settings.docker.socket.display().to_string()),
        ("--label", format!("{}={home}", labels::HOME)),
    ];
    let flags = ["engine", "--allow-commands", "--end-commands-on-exit"].map(str::to_owned);
    flags.into_iter().chain(pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value])).collect()
}

/// Its environment beside PATH.
pub(super) fn environment(settings: &Settings, credentials: &Secret) -> Vec<(&'static str, String)> {
    vec![
        ("HOME", settings.home.path().display().to_string()),
        ("MESOSPHERE_HTTP_CREDENTIALS", credentials.reveal().to_owned()),
    ]
}

/// It prints this once it accepts connections.
pub(super) fn is_ready(line: &str) -> bool {
    line.starts_with("listening on ")
}

/// True for the arguments of this home's root engine.
pub(super) fn is_ours(arguments: &[String], home: &Home) -> bool {
    let state = home.root_engine().display().to_string();
    runs_engine(arguments, |value| value == state)
}

/// True for the arguments of an engine of one of this home's tenants.
pub(super) fn is_a_tenants(arguments: &[String], home: &Home) -> bool {
    let tenants = home.tenant_engines();
    runs_engine(arguments, |value| std::path::Path::new(value).starts_with(&tenants))
}

fn runs_engine(arguments: &[String], of: impl Fn(&str) -> bool) -> bool {
    arguments.get(1).is_some_and(|noun| noun == "engine")
        && arguments.windows(2).any(|pair| pair[0] == "--state" && of(&pair[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_engine_alone_may_run_commands_and_is_recognised_by_its_state() {
        let settings = Settings::load(Some("/srv/paas".into()), std::iter::empty()).unwrap();
        let arguments = arguments(&settings);
        assert_eq!(
            arguments[..5],
            ["engine", "--allow-commands", "--end-commands-on-exit", "--listen", "127.0.0.1:8080"]
        );
        assert!(arguments.windows(2).any(|pair| pair == ["--label", "paas.home=/srv/paas"]));
        let process: Vec<String> = ["paas".to_owned()].into_iter().chain(arguments).collect();
        assert!(is_ours(&process, &settings.home) && !is_a_tenants(&process, &settings.home));
        assert!(!is_ours(&process, &Home::new("/srv/paas2")));
    }

    #[test]
    fn a_tenants_engine_is_recognised_too() {
        let process = ["paas", "engine", "--state", "/srv/paas/engines/tenants/dev"].map(str::to_owned);
        assert!(is_a_tenants(&process, &Home::new("/srv/paas")) && !is_ours(&process, &Home::new("/srv/paas")));
        assert!(!is_a_tenants(&["vi", "engine"].map(str::to_owned), &Home::new("/srv/paas")));
    }

    #[test]
    fn the_password_is_in_no_argument() {
        let settings = Settings::load(Some("/srv/paas".into()), std::iter::empty()).unwrap();
        let secret = Secret::new("root:hunter2");
        assert!(!arguments(&settings).iter().any(|argument| argument.contains("hunter2")));
        assert!(environment(&settings, &secret).iter().any(|(_, value)| value == "root:hunter2"));
    }
}
