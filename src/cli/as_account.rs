//! Work with an app's repository, and the files beside it, is its owner's: root becomes the platform's account for it.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::platform::{Programs, account_name};
use crate::settings::Settings;
use crate::ui::{Exit, Failure, Form, Ui};

/// Goes on as the platform's account, with the same words, where root has come to a platform that is another's. Returns
/// where nothing has to change.
pub(super) async fn become_account(settings: &Settings, words: &[String], ui: &Ui) -> anyhow::Result<()> {
    let owner = std::fs::metadata(settings.home.path()).map_or(0, |home| home.uid());
    // Root's home as a whole may be root's, what is in it is the account's.
    let owner = std::fs::metadata(settings.home.store()).map_or(owner, |store| store.uid());
    if !rustix::process::geteuid().is_root() || owner == 0 {
        return Ok(());
    }
    let account = account_name(settings).await;
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &account, "--regid", &account, "--init-groups", "--"]);
    command.arg(Programs::of_process()?.paas).arg("--home").arg(settings.home.path());
    let wishes = ui.wishes();
    command.args((wishes.form == Form::Json).then_some("--json")).args(wishes.quiet.then_some("--quiet"));
    command.args((!wishes.colour).then_some("--no-color")).args(words);
    // It takes our place, or says why not.
    let cause = command.current_dir("/").exec();
    let what = format!("cannot go on as `{account}`, to whom the platform belongs");
    Err(Failure::new(Exit::Failed, what).because(cause).into())
}
