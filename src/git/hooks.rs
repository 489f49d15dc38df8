//! git's hooks, which `core.hooksPath` of every repository names.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Name and text of each; they are in the program so that it can be installed anywhere.
const HOOKS: [(&str, &str); 2] = [
    ("pre-receive", include_str!("../../hooks/pre-receive")),
    ("proc-receive", include_str!("../../hooks/proc-receive")),
];

/// Writes the hooks into `directory`, which must be there. Each is replaced whole, so that a push that runs meanwhile
/// meets the old one or the new one.
pub fn install_hooks(directory: &Path) -> io::Result<()> {
    for (name, text) in HOOKS {
        let draft = directory.join(format!(".{name}.new"));
        fs::write(&draft, text)?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755))?;
        fs::rename(&draft, directory.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hooks_are_installed_to_be_run_and_may_be_installed_again() {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            install_hooks(directory.path()).unwrap();
        }
        for (name, text) in HOOKS {
            let file = directory.path().join(name);
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o755);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), HOOKS.len());
    }
}
