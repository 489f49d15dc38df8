//! Reads what clients send to an engine, exactly as a real Marathon does: defaults, old spellings, refusals.
//!
//! Pure: bytes and the present state in, canonical values or a [`Refusal`] out. No clock, no store, no HTTP.

mod refusal;

pub use refusal::{Asked, LOCKED, Refusal};
