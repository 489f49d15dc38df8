//! What several topics of the tests need: real parts, started and cleaned up.

pub mod builder;
pub mod checking_proxy;
pub mod contract;
pub mod engine;
pub mod event_stream;
pub mod figures;
pub mod http;
pub mod platform;
pub mod project;
pub mod registry;
pub mod stack;
