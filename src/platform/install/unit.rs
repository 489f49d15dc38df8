//! The systemd unit that runs `paas up`.

use std::path::{Path, PathBuf};

use crate::accounts::authorized_keys::MADE_BY_INSTALL;
use crate::settings::Home;

pub(super) const NAME: &str = "paas.service";

pub(super) fn path(root: &Path) -> PathBuf {
    root.join("etc/systemd/system").join(NAME)
}

/// The whole unit. Every path in it was checked to hold no character that systemd reads as more than itself.
///
/// Whoever may use Docker's socket could become root, so the walls here are against mistakes. What is not there, and
/// why: a read-only /etc and a smaller set of capabilities would be in the way of the system user's upkeep, of becoming
/// that user, and of the platform's own sshd; private temporary files, of directories shared with containers.
pub(super) fn text(home: &Home, user: &str, paas: &Path) -> String {
    let (home, paas) = (home.path().display(), paas.display());
    format!(
        "\
{MADE_BY_INSTALL}; `paas uninstall` takes it back. Changes here are lost at the next `paas install`:
# `systemctl edit {NAME}` keeps them.
[Unit]
Description=paas: git push turns a repository into running processes
Documentation=man:paas(1) man:paas-up(1)
Wants=network-online.target docker.service
After=network-online.target docker.service ssh.service sshd.service

[Service]
Type=exec
ExecStart={paas} up --home {home} --user {user}
Restart=on-failure
RestartSec=5s
# It ends its own processes in order, and the apps keep running.
KillMode=mixed
TimeoutStopSec=90s
# A build or an engine that the kernel ends for want of memory takes nobody with it.
OOMPolicy=continue
LimitNOFILE=65536
NoNewPrivileges=yes
ProtectSystem=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn systemd_understands_every_line() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("paas");
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let unit = directory.path().join(NAME);
        let ours = text(&Home::new("/srv/paas"), "paas", &program);
        let complaints = |text: &str| {
            std::fs::write(&unit, text).unwrap();
            // Without manual pages, which this machine need not have; what other units lack is not ours.
            let said = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().ok()?;
            let said = String::from_utf8_lossy(&said.stderr).into_owned();
            let is_ours = |line: &&str| line.contains(NAME) && !line.contains("docker.service");
            Some(said.lines().filter(is_ours).map(ToOwned::to_owned).collect::<Vec<_>>())
        };
        // Where there is no systemd nobody reads the unit either.
        let Some(said) = complaints(&ours) else { return };
        assert_eq!(said, [""; 0]);
        let misspelt = complaints(&ours.replace("KillMode=", "KilMode=")).unwrap();
        assert!(misspelt.iter().any(|line| line.contains("KilMode")), "{misspelt:?}");
    }

    #[test]
    fn it_starts_this_home_as_this_user_and_keeps_it_running() {
        let text = text(&Home::new("/srv/paas"), "deploy", Path::new("/usr/local/bin/paas"));
        assert!(text.starts_with(MADE_BY_INSTALL));
        for line in ["ExecStart=/usr/local/bin/paas up --home /srv/paas --user deploy", "Restart=on-failure"] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
