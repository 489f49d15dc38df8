//! The receive host's side: what sshd runs for people who push.

pub mod authorized_keys;
pub mod upload_key;
