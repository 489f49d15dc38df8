//! The git remotes that people push to.

use crate::model::TenantName;
use crate::settings::SshSettings;

/// What the remote of a tenant is called in a work tree.
pub(super) fn name(tenant: &TenantName) -> String {
    format!("paas-{tenant}")
}

/// Where `app` of the tenant is pushed to: an app's name, or a word that stands for one.
pub(super) fn url(ssh: &SshSettings, user: &str, tenant: &TenantName, app: &str) -> String {
    let host = if ssh.host.contains(':') { format!("[{}]", ssh.host) } else { ssh.host.clone() };
    format!("ssh://{user}@{host}:{}/{tenant}/{app}", ssh.port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn a_remote_names_user_host_port_tenant_and_app() {
        let vars = [("PAAS_SSH_HOST", "::1"), ("PAAS_SSH_PORT", "22")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let settings = Settings::load(Some("/nonexistent".into()), vars.into_iter()).unwrap();
        let dev = "dev".parse().unwrap();
        assert_eq!(url(&settings.ssh, "paas", &dev, "shop"), "ssh://paas@[::1]:22/dev/shop");
        assert_eq!(name(&dev), "paas-dev");
    }
}
