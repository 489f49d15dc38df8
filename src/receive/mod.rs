//! The receive host's side: what sshd runs for people who push.

mod admission;
pub mod authorized_keys;
pub mod command;
mod context;
mod detached;
mod hooks;
mod letterbox;
mod pkt_line;
mod request;
mod session;
mod sweep;
pub mod upload_key;

/// What fuzzing needs to see of this room; nothing for anybody else.
#[doc(hidden)]
pub mod fuzzing {
    use super::request::Request;

    /// What an ssh command asks for: a repository's tenant and app, or the words of a command of `paas`; else the words
    /// of its refusal.
    pub fn parse_request(command: &str) -> Result<Asked, String> {
        match Request::parse(command) {
            Ok(Request::ReceivePack(repository) | Request::UploadPack(repository)) => {
                Ok(Asked::Repository([repository.tenant.to_string(), repository.app.to_string()]))
            }
            Ok(Request::Help | Request::Version) => Ok(Asked::Command(Vec::new())),
            Ok(Request::Command(words)) => Ok(Asked::Command(words)),
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    #[derive(Debug)]
    pub enum Asked {
        Repository([String; 2]),
        Command(Vec<String>),
    }
}
