//! The drop-in of the host's own sshd: one account, registered keys alone, nothing but the forced command.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::marked::{self, Marked};
use super::{Did, InstallError, KeysBy};
use crate::accounts::authorized_keys::{MADE_BY_INSTALL, authorized_keys_file};
use crate::platform::tool::{self, ToolError};
use crate::settings::{Home, Settings};

/// The host's own sshd, whose configuration is below a root directory.
#[derive(Debug)]
pub(super) struct HostSshd {
    pub(super) config: PathBuf,
    pub(super) drop_in: PathBuf,
}

/// What sshd asks and runs, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Door<'a> {
    pub(super) user: &'a str,
    pub(super) home: &'a Home,
    pub(super) receive: &'a Path,
    pub(super) keys: KeysBy,
}

impl Door<'_> {
    /// The options of its `Match` block. Every path in them was checked to hold no character that sshd reads as more
    /// than itself.
    fn options(&self) -> Vec<String> {
        let (user, home, receive) = (self.user, self.home.path().display(), self.receive.display());
        let keys = match self.keys {
            KeysBy::Command => [
                "AuthorizedKeysFile none".to_owned(),
                format!("AuthorizedKeysCommand {receive} authorized-keys --home {home} %t %k"),
                format!("AuthorizedKeysCommandUser {user}"),
            ],
            KeysBy::File => [
                format!("AuthorizedKeysFile {}", authorized_keys_file(self.home.path()).display()),
                "AuthorizedKeysCommand none".to_owned(),
                "AuthorizedKeysCommandUser none".to_owned(),
            ],
        };
        let fixed = [
            "PubkeyAuthentication yes",
            "AuthenticationMethods publickey",
            "TrustedUserCAKeys none",
            "AuthorizedPrincipalsCommand none",
            "AuthorizedPrincipalsFile none",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "HostbasedAuthentication no",
            "PermitEmptyPasswords no",
            "DisableForwarding yes",
            "AllowAgentForwarding no",
            "AllowTcpForwarding no",
            "AllowStreamLocalForwarding no",
            "GatewayPorts no",
            "PermitTunnel no",
            "X11Forwarding no",
            "PermitTTY no",
            "PermitUserRC no",
            "AcceptEnv none",
            "Banner none",
            // An agent may hold many keys and offers one after the other.
            "MaxAuthTries 20",
            // A client whose network is lost is noticed within a minute, so that its push ends.
            "ClientAliveInterval 15",
            "ClientAliveCountMax 4",
        ];
        keys.into_iter().chain(fixed.map(str::to_owned)).collect()
    }

    fn text(&self) -> String {
        let user = self.user;
        let options: Vec<String> = self.options().iter().map(|option| format!("    {option}\n")).collect();
        format!(
            "\
{MADE_BY_INSTALL}; `paas uninstall` takes it back. Changes here are lost at the next `paas install`.
# For whom nothing is open but paas-receive, by a key that `paas keys` shows. Nobody else is concerned.
Match User {user}
{options}",
            options = options.concat()
        )
    }
}

impl HostSshd {
    /// The one of the machine whose `/etc` is in `root`.
    pub(super) fn of(settings: &Settings, root: &Path) -> Self {
        let this_machine = root == Path::new("/");
        Self::with(if this_machine { settings.ssh.config.clone() } else { root.join("etc/ssh/sshd_config") })
    }

    pub(super) fn with(config: PathBuf) -> Self {
        let directory = config.parent().unwrap_or(Path::new("/"));
        Self { drop_in: directory.join("sshd_config.d/paas.conf"), config }
    }

    /// Where it listens, as its configuration says; of several addresses, one that most people reach.
    pub(super) async fn address(&self) -> Result<SocketAddr, InstallError> {
        let effective = self.effective("root").await.map_err(InstallError::BrokenSshd)?;
        listens_at(&effective).ok_or_else(|| InstallError::Nowhere(self.config.clone()))
    }

    /// What counts for a connection of `user`, as sshd says.
    async fn effective(&self, user: &str) -> Result<String, ToolError> {
        let connection = format!("user={user},host=localhost,addr=127.0.0.1");
        tool::run("sshd", ["-T", "-C", &connection, "-f", &self.config.display().to_string()].map(str::to_owned)).await
    }

    /// Whether the drop-in is the one for `door`, in whichever way sshd learns of keys, and in effect. Only root can
    /// ask sshd, which reads its host keys to answer.
    pub(super) async fn is_open(&self, door: Door<'_>, as_root: bool) -> Result<(), WhyClosed> {
        let Ok(Some(found)) = marked::read(&self.drop_in) else { return Err(WhyClosed::Missing) };
        let ways = [KeysBy::Command, KeysBy::File].map(|keys| Door { keys, ..door });
        let door = ways.iter().find(|door| door.text() == found).ok_or(WhyClosed::Another)?;
        if as_root {
            self.in_effect(door).await?;
        }
        Ok(())
    }

    pub(super) fn file(&self, door: &Door<'_>) -> Marked {
        Marked { path: self.drop_in.clone(), text: door.text() }
    }

    /// sshd itself checks its whole configuration.
    pub(super) async fn check(&self) -> Result<(), InstallError> {
        let arguments = ["-t", "-f", &self.config.display().to_string()].map(str::to_owned);
        tool::run("sshd", arguments).await.map(|_| ()).map_err(InstallError::BrokenSshd)
    }

    /// Puts the drop-in into its place, where it counts only if sshd takes it and does what it says; else everything
    /// is as it was, and sshd's words are in the error.
    pub(super) async fn open(&self, door: &Door<'_>) -> Result<Opened, InstallError> {
        let before = marked::read(&self.drop_in)?;
        let did = self.file(door).write()?;
        match self.in_effect(door).await {
            Ok(remarks) => Ok(Opened { did, remarks }),
            Err(idle) => {
                match before {
                    None => marked::remove(&self.drop_in).map(|_| ())?,
                    Some(text) => Marked { path: self.drop_in.clone(), text }.write().map(|_| ())?,
                }
                let (path, config) = (self.drop_in.clone(), self.config.clone());
                Err(match idle {
                    Idle::Refused(cause) => InstallError::Refused { path, cause },
                    Idle::NotInEffect(option) => InstallError::NotInEffect { path, config, option },
                })
            }
        }
    }

    async fn in_effect(&self, door: &Door<'_>) -> Result<Vec<String>, Idle> {
        let check = ["-t", "-f", &self.config.display().to_string()].map(str::to_owned);
        tool::run("sshd", check).await.map_err(Idle::Refused)?;
        let effective = self.effective(door.user).await.map_err(Idle::Refused)?;
        match not_in_effect(&effective, &door.options()) {
            Some(option) => Err(Idle::NotInEffect(option.to_owned())),
            None => Ok(remarks(&effective, door.user)),
        }
    }
}

/// Why the host's sshd lets nobody in by the drop-in.
#[derive(Debug, thiserror::Error)]
pub enum WhyClosed {
    #[error("it is not there, or not made by `paas install`")]
    Missing,
    #[error("it was made for another home, user or place of the programs, or by another version")]
    Another,
    #[error(transparent)]
    Idle(#[from] Idle),
}

/// Why the drop-in, which is there, does nothing.
#[derive(Debug, thiserror::Error)]
pub enum Idle {
    #[error("sshd refuses it")]
    Refused(#[source] ToolError),
    #[error("`{0}` is not in effect")]
    NotInEffect(String),
}

/// The drop-in is in its place and in effect.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) did: Did,
    /// What else in sshd's configuration is in somebody's way, with what to do.
    pub(super) remarks: Vec<String>,
}

/// From the lines `listenaddress 0.0.0.0:22` and `listenaddress [::]:22`, behind which a routing domain may stand:
/// every address rather than one of them, that rather than loopback, and IPv4 rather than IPv6.
fn listens_at(effective: &str) -> Option<SocketAddr> {
    let places = effective.lines().filter_map(|line| line.strip_prefix("listenaddress "));
    let addresses = places.filter_map(|place| place.split_whitespace().next()?.parse().ok());
    addresses.min_by_key(|address: &SocketAddr| {
        let ip = address.ip();
        (!ip.is_unspecified(), ip.is_loopback(), ip.is_ipv6())
    })
}

/// The first option that is not among those in effect, as `sshd -T` prints them: names in lower case.
fn not_in_effect<'a>(effective: &str, options: &'a [String]) -> Option<&'a str> {
    let has = |option: &str| {
        let (name, value) = option.split_once(' ').unwrap_or((option, ""));
        effective
            .lines()
            .filter_map(|line| line.split_once(' '))
            .any(|(n, v)| n.eq_ignore_ascii_case(name) && v == value)
    };
    options.iter().map(String::as_str).find(|option| !has(option))
}

/// What holds for all users of this sshd, and so cannot be said in a `Match` block.
fn remarks(effective: &str, user: &str) -> Vec<String> {
    let values = |name: &str| -> Vec<&str> {
        let lines = effective.lines().filter_map(|line| line.split_once(' '));
        lines.filter(|(n, _)| *n == name).flat_map(|(_, value)| value.split(' ')).collect()
    };
    let mut remarks = Vec::new();
    let allowed = values("allowusers");
    if !allowed.is_empty() && !allowed.contains(&user) {
        remarks.push(format!("sshd's AllowUsers names {}: add {user} to it, or nobody gets in", allowed.join(", ")));
    }
    let groups = values("allowgroups");
    if !groups.is_empty() && !groups.contains(&user) {
        remarks.push(format!("sshd's AllowGroups names {}: add {user} to it, or nobody gets in", groups.join(", ")));
    }
    if values("permituserenvironment").iter().any(|value| *value != "no") {
        remarks.push(
            "sshd's PermitUserEnvironment is on; paas needs it for nothing, so turn it off if you can".to_owned(),
        );
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::account::Account;

    fn door(home: &Home, keys: KeysBy) -> Door<'_> {
        Door { user: "paas", home, receive: Path::new("/usr/local/bin/paas-receive"), keys }
    }

    /// A root directory with the configuration of an sshd as a machine has it.
    struct Host(tempfile::TempDir);

    impl Host {
        fn new(config: &str) -> Self {
            let root = tempfile::tempdir().unwrap();
            let ssh = root.path().join("etc/ssh");
            std::fs::create_dir_all(ssh.join("sshd_config.d")).unwrap();
            let key = ssh.join("key");
            let made = std::process::Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key)
                .status();
            assert!(made.unwrap().success());
            let config = config.replace("ETC", &ssh.display().to_string());
            std::fs::write(ssh.join("sshd_config"), format!("{config}\nHostKey {}\n", key.display())).unwrap();
            Self(root)
        }
        fn sshd(&self) -> HostSshd {
            HostSshd::with(self.0.path().join("etc/ssh/sshd_config"))
        }
        async fn open(&self, keys: KeysBy) -> Result<Opened, InstallError> {
            // A name that this machine knows, as sshd looks it up.
            let user = Account::current().await.unwrap().name;
            let home = Home::new("/srv/paas");
            self.sshd().open(&Door { user: &user, ..door(&home, keys) }).await
        }
    }

    const DEBIAN: &str = "Include ETC/sshd_config.d/*.conf\nUsePAM yes\nX11Forwarding yes\nAcceptEnv LANG LC_*\nSubsystem sftp /usr/lib/openssh/sftp-server";

    #[tokio::test]
    async fn sshd_understands_every_line_and_does_what_it_says_for_both_ways_to_ask_for_keys() {
        let host = Host::new(DEBIAN);
        for (keys, did) in [
            (KeysBy::Command, Did::Made),
            (KeysBy::Command, Did::Nothing),
            (KeysBy::File, Did::Changed),
            (KeysBy::File, Did::Nothing),
        ] {
            let opened = host.open(keys).await.unwrap();
            assert_eq!((opened.did, opened.remarks), (did, Vec::<String>::new()), "{keys:?}");
        }
    }

    #[tokio::test]
    async fn a_configuration_that_does_not_read_the_drop_in_is_said_and_nothing_stays() {
        for config in [
            "UsePAM yes",
            "Match User *\n    AuthorizedKeysFile /etc/keys\nMatch all\nInclude ETC/sshd_config.d/*.conf",
        ] {
            let host = Host::new(config);
            let error = host.open(KeysBy::Command).await.unwrap_err();
            assert!(matches!(&error, InstallError::NotInEffect { .. }), "{error:?}");
            assert!(!host.sshd().drop_in.exists());
        }
    }

    #[tokio::test]
    async fn what_sshd_refuses_is_taken_back_and_its_words_are_told() {
        let host = Host::new(DEBIAN);
        host.open(KeysBy::Command).await.unwrap();
        let before = std::fs::read_to_string(host.sshd().drop_in).unwrap();
        let home = Home::new("/srv/paas");
        // No account's name, so sshd takes the second word for a condition.
        let error =
            host.sshd().open(&Door { user: "paas Nonsense", ..door(&home, KeysBy::Command) }).await.unwrap_err();
        let InstallError::Refused { cause, .. } = &error else { panic!("{error:?}") };
        assert!(cause.to_string().contains("paas.conf"), "{cause}");
        assert_eq!(std::fs::read_to_string(host.sshd().drop_in).unwrap(), before);
    }

    #[tokio::test]
    async fn a_broken_configuration_is_told_from_one_that_we_broke() {
        let host = Host::new("Nonsense yes");
        let error = host.sshd().check().await.unwrap_err();
        assert!(
            matches!(&error, InstallError::BrokenSshd(cause) if cause.to_string().contains("Nonsense")),
            "{error:?}"
        );
    }

    #[test]
    fn whom_sshd_would_shut_out_is_told() {
        let effective = "allowusers admin\nallowusers ops\npermituserenvironment no\n";
        let [remark] = &remarks(effective, "paas")[..] else { panic!() };
        assert!(remark.contains("admin, ops") && remark.contains("add paas"), "{remark}");
        assert_eq!(remarks("allowusers paas\nallowgroups paas\npermituserenvironment no\n", "paas"), [""; 0]);
        assert_eq!(remarks("permituserenvironment yes\n", "paas").len(), 1);
    }

    #[test]
    fn where_sshd_listens_is_what_it_says_itself() {
        let at = |text: &str| listens_at(text).map(|address| address.to_string());
        assert_eq!(at("port 22\nlistenaddress [::]:22\nlistenaddress 0.0.0.0:22\n").as_deref(), Some("0.0.0.0:22"));
        assert_eq!(at("port 22\nlistenaddress [::1]:2022\n").as_deref(), Some("[::1]:2022"));
        let several = "listenaddress 127.0.0.1:22\nlistenaddress [2001:db8::1]:2200 rdomain x\n";
        assert_eq!(at(several).as_deref(), Some("[2001:db8::1]:2200"));
        assert_eq!(at("port 22\n"), None);
    }

    #[tokio::test]
    async fn a_door_is_open_only_while_its_drop_in_is_there_its_own_and_in_effect() {
        let host = Host::new(DEBIAN);
        let user = Account::current().await.unwrap().name;
        let (home, other) = (Home::new("/srv/paas"), Home::new("/srv/other"));
        let of = |home| Door { user: &user, ..door(home, KeysBy::Command) };
        assert!(matches!(host.sshd().is_open(of(&home), true).await, Err(WhyClosed::Missing)));
        host.open(KeysBy::File).await.unwrap();
        host.sshd().is_open(of(&home), true).await.unwrap();
        assert!(matches!(host.sshd().is_open(of(&other), true).await, Err(WhyClosed::Another)));
        let config = std::fs::read_to_string(host.sshd().config).unwrap();
        std::fs::write(host.sshd().config, config.replace("Include ", "#Include ")).unwrap();
        let closed = host.sshd().is_open(of(&home), true).await.unwrap_err();
        assert!(matches!(closed, WhyClosed::Idle(Idle::NotInEffect(_))), "{closed:?}");
    }

    #[test]
    fn an_option_is_in_effect_when_sshd_says_so_word_for_word() {
        let options = ["PermitTTY no".to_owned(), "AuthorizedKeysFile none".to_owned()];
        assert_eq!(not_in_effect("permittty no\nauthorizedkeysfile none\n", &options), None);
        assert_eq!(
            not_in_effect("permittty no\nauthorizedkeysfile none x\n", &options),
            Some("AuthorizedKeysFile none")
        );
    }
}
