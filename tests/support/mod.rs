//! What several topics of the tests need: real parts, started and cleaned up.

pub mod balancer;
pub mod builder;
pub mod chance;
pub mod checking_proxy;
pub mod contract;
pub mod crowd;
pub mod engine;
pub mod event_stream;
pub mod events;
pub mod fake_docker;
pub mod figures;
pub mod fleet;
pub mod http;
pub mod laptop;
pub mod load;
pub mod memory;
pub mod own_docker;
pub mod platform;
pub mod project;
pub mod registry;
pub mod small_disk;
pub mod soak;
pub mod stack;
pub mod times;
pub mod usage;
