//! The one integration binary: real git, sshd, Docker and registry. One module a topic.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may stop here")]
#![allow(unreachable_pub, reason = "in a binary `pub` says what a support file offers; nothing leaves the crate")]

mod builds;
mod deploy_tokens;
mod detach;
mod e2e;
mod engine;
mod engine_api;
mod engine_behaviour;
mod engine_contract;
mod engine_crowd;
mod engine_launch;
mod engine_load;
mod engine_mesos;
mod engine_rolling;
mod engine_soak;
mod engine_trust;
#[cfg(feature = "fault-points")]
mod faults;
#[cfg(not(feature = "fault-points"))]
mod faults_left_out;
mod front_door;
mod house;
mod init;
mod install;
mod keys;
mod people;
mod pipeline;
mod platform;
mod promotion;
mod quota;
mod redeploy;
mod scripted_marathon;
mod secrets;
mod shell;
mod stack;
mod strangers;
mod support;
mod sweep;
