//! A Marathon for one machine: answers Marathon's REST API and runs instances in the local Docker.

pub mod reading;
