//! The platform's own sshd: one account, keys alone, nothing but the forced command.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Programs;
use super::account::Account;
use super::layout::{self, LayoutError};
use super::tool::{self, ToolError};
use crate::settings::{Home, Settings};

/// sshd was not made ready.
#[derive(Debug, thiserror::Error)]
pub enum SshdError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("sshd's host key could not be made")]
    HostKey(#[source] ToolError),
    #[error("sshd refuses the configuration that was made for it")]
    Refused(#[source] ToolError),
    #[error("cannot make {PRIVILEGE_SEPARATION}, which sshd needs")]
    PrivilegeSeparation(#[source] std::io::Error),
}

/// Where Debian's sshd confines its unprivileged half. The system's own service makes it at boot, if there is one.
pub(super) const PRIVILEGE_SEPARATION: &str = "/run/sshd";

fn config_path(home: &Home) -> PathBuf {
    home.ssh().join("sshd_config")
}

fn host_key(home: &Home) -> PathBuf {
    home.ssh().join("host_ed25519")
}

/// Writes the configuration and, once, the host key; then sshd itself checks both.
pub(super) async fn prepare(settings: &Settings, programs: &Programs, account: &Account) -> Result<(), SshdError> {
    if rustix::process::geteuid().is_root() {
        std::fs::create_dir_all(PRIVILEGE_SEPARATION).map_err(SshdError::PrivilegeSeparation)?;
    }
    let key = host_key(&settings.home);
    if !key.exists() {
        let arguments = ["-q", "-t", "ed25519", "-N", "", "-C", "paas host key", "-f", &key.display().to_string()];
        tool::run("ssh-keygen", arguments).await.map_err(SshdError::HostKey)?;
    }
    let path = config_path(&settings.home);
    layout::generated(&path, &config(settings, programs, account), 0o644)?;
    let check = ["-t", "-f", &path.display().to_string()].map(str::to_owned);
    tool::run("sshd", check).await.map(|_| ()).map_err(SshdError::Refused)
}

/// The arguments that make it serve in the foreground, with its log on stderr.
pub(super) fn arguments(home: &Home) -> Vec<String> {
    vec!["-D".to_owned(), "-e".to_owned(), "-f".to_owned(), config_path(home).display().to_string()]
}

/// True for the arguments (or the title that sshd gives itself) of an sshd of this home.
pub(super) fn is_ours(arguments: &[String], home: &Home) -> bool {
    let config = config_path(home).display().to_string();
    let title = arguments.first().map(String::as_str).unwrap_or_default();
    let titled = title.starts_with("sshd: ") && title.split_whitespace().any(|word| word == config);
    let plain = Path::new(title).file_name().is_some_and(|name| name == "sshd");
    titled || (plain && arguments.contains(&config))
}

/// True for the arguments of what a connection of this home runs.
pub(super) fn is_a_session(arguments: &[String], home: &Home) -> bool {
    let home = home.path().display().to_string();
    arguments.get(1).is_some_and(|word| word == "session")
        && arguments.windows(2).any(|pair| pair[0] == "--home" && pair[1] == home)
}

/// sshd says so, in its log, for each address once it accepts connections there.
pub(super) fn is_ready(line: &str) -> bool {
    line.contains("Server listening on ")
}

/// The whole configuration. Every path in it was checked to hold no character that sshd reads as more than itself.
fn config(settings: &Settings, programs: &Programs, account: &Account) -> String {
    let listen = SocketAddr::new(settings.ssh.listen, settings.ssh.port);
    let home = settings.home.path().display();
    let receive = programs.receive.display();
    let host_key = host_key(&settings.home);
    let user = &account.name;
    format!(
        "\
# Made by `paas up` at each start; changes here are lost. The settings are in {home}/config.yml.
ListenAddress {listen}
HostKey {host_key}
PidFile none
LogLevel INFO
UseDNS no

# Who: any registered key, and that alone.
AllowUsers {user}
AuthenticationMethods publickey
PubkeyAuthentication yes
AuthorizedKeysFile none
AuthorizedKeysCommand {receive} authorized-keys --home {home} %t %k
AuthorizedKeysCommandUser {user}
PasswordAuthentication no
KbdInteractiveAuthentication no
HostbasedAuthentication no
PermitEmptyPasswords no
PermitRootLogin no
UsePAM no
StrictModes yes
# An agent may hold many keys and offers one after the other.
MaxAuthTries 20
LoginGraceTime 30
# Many pushes at once; sshd's own default begins to refuse at ten.
MaxStartups 100:30:300

# What for: the forced command that comes with the key.
PermitTTY no
PermitUserRC no
PermitUserEnvironment no
AllowAgentForwarding no
AllowTcpForwarding no
AllowStreamLocalForwarding no
GatewayPorts no
PermitTunnel no
X11Forwarding no
PrintMotd no
PrintLastLog no
Banner none

# A client whose network is lost is noticed within a minute, so that its push ends.
ClientAliveInterval 15
ClientAliveCountMax 4
",
        host_key = host_key.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> String {
        let mut settings = Settings::load(Some("/srv/paas".into()), std::iter::empty()).unwrap();
        settings.ssh.port = 2299;
        let account = Account { name: "paas".to_owned(), uid: 998, gid: 998, home: "/srv/paas".into() };
        config(&settings, &Programs::in_directory(Path::new("/usr/local/bin")), &account)
    }

    #[test]
    fn only_registered_keys_open_it_and_only_for_the_forced_command() {
        let config = example();
        for line in [
            "ListenAddress 127.0.0.1:2299",
            "AllowUsers paas",
            "AuthorizedKeysFile none",
            "AuthorizedKeysCommand /usr/local/bin/paas-receive authorized-keys --home /srv/paas %t %k",
            "AuthorizedKeysCommandUser paas",
            "PasswordAuthentication no",
            "UsePAM no",
            "PermitTTY no",
            "AllowTcpForwarding no",
            "ClientAliveInterval 15",
        ] {
            assert!(config.lines().any(|l| l == line), "{line}\n{config}");
        }
        assert!(!config.contains("AcceptEnv"), "nothing of the client's environment is taken");
    }

    #[tokio::test]
    async fn sshd_understands_every_line() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        std::fs::create_dir(home.ssh()).unwrap();
        let settings = Settings::load(Some(directory.path().to_owned()), std::iter::empty()).unwrap();
        let account = Account::current().await.unwrap();
        prepare(&settings, &Programs::in_directory(Path::new("/usr/local/bin")), &account).await.unwrap();
        let first = std::fs::read(host_key(&home)).unwrap();
        prepare(&settings, &Programs::in_directory(Path::new("/usr/local/bin")), &account).await.unwrap();
        assert_eq!(std::fs::read(host_key(&home)).unwrap(), first, "the host key stays");
    }

    #[test]
    fn a_session_is_ours_by_its_home() {
        let words = ["/usr/local/bin/paas-receive", "session", "--user", "alice", "--home", "/srv/paas"];
        let words = words.map(str::to_owned);
        assert!(is_a_session(&words, &Home::new("/srv/paas")) && !is_a_session(&words, &Home::new("/srv")));
    }

    #[test]
    fn an_sshd_is_ours_by_its_configuration() {
        let home = Home::new("/srv/paas");
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(is_ours(&words(&["/usr/sbin/sshd", "-D", "-e", "-f", "/srv/paas/ssh/sshd_config"]), &home));
        let title = "sshd: /usr/sbin/sshd -D -e -f /srv/paas/ssh/sshd_config [listener] 0 of 100-300 startups";
        assert!(is_ours(&words(&[title]), &home));
        assert!(!is_ours(&words(&["sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"]), &home));
        assert!(!is_ours(&words(&["vi", "/srv/paas/ssh/sshd_config"]), &home));
        assert!(!is_ours(&words(&["sshd", "-f", "/srv/paas2/ssh/sshd_config"]), &home));
    }
}
