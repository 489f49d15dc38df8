//! The receive host's side: what sshd runs for people who push.

mod admission;
pub mod authorized_keys;
pub mod command;
mod context;
mod hooks;
mod pkt_line;
mod request;
mod session;
mod terminal;
pub mod upload_key;
