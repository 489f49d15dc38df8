//! Which keys each part of `paas.yml` has, and what each takes.

use serde::de::{Error, MapAccess};

use super::values::{
    at_least_one, builder, buildpack, command, count, cpus, file_in_tree, mebibytes, own, path, seconds, some_seconds,
    stage, variable_name, variable_value,
};
use super::yaml::{Section, list, pairs, rows, scalar, section, sections};
use super::{Build, Constraint, Health, Manifest, Process};

impl Section for Manifest {
    const WHAT: &'static str = "paas.yml";
    const KEYS: &'static [&'static str] =
        &["app", "token", "build", "processes", "release", "env", "domains", "tenants"];

    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, values: &mut A) -> Result<(), A::Error> {
        match key {
            "app" => self.app = scalar(values, own)?,
            "token" => self.token = scalar(values, own)?,
            "build" => self.build = section(values)?.unwrap_or_default(),
            "processes" => self.processes = sections(values, own)?,
            "release" => self.release = scalar(values, command)?,
            "env" => self.env = pairs(values, variable_name, variable_value)?,
            "domains" => self.domains = list(values, own)?,
            "tenants" => {
                let overlays = sections::<_, Overlay, _>(values, own)?;
                self.tenants = overlays.into_iter().map(|(tenant, overlay)| (tenant, overlay.0)).collect();
            }
            other => unreachable!("`{other}` is in KEYS and read nowhere"),
        }
        Ok(())
    }
}

/// What one tenant has different: everything but the app's name and further overlays.
#[derive(Default)]
struct Overlay(Manifest);

impl Section for Overlay {
    const WHAT: &'static str = "a tenant's part";
    const KEYS: &'static [&'static str] = &["processes", "build", "release", "env", "domains", "token"];

    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, values: &mut A) -> Result<(), A::Error> {
        self.0.take(key, values)
    }
}

impl Section for Build {
    const WHAT: &'static str = "the build";
    const KEYS: &'static [&'static str] = &["builder", "buildpacks", "env", "timeout", "dockerfile", "target"];

    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, values: &mut A) -> Result<(), A::Error> {
        match key {
            "builder" => self.builder = scalar(values, builder)?,
            "buildpacks" => self.buildpacks = list(values, buildpack)?,
            "env" => self.env = pairs(values, variable_name, variable_value)?,
            "timeout" => self.timeout = scalar(values, some_seconds)?,
            "dockerfile" => self.dockerfile = scalar(values, file_in_tree)?,
            "target" => self.target = scalar(values, stage)?,
            other => unreachable!("`{other}` is in KEYS and read nowhere"),
        }
        Ok(())
    }
}

impl Section for Process {
    const WHAT: &'static str = "a process";
    const KEYS: &'static [&'static str] =
        &["command", "instances", "cpus", "mem", "health", "stop_timeout", "constraints"];

    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, values: &mut A) -> Result<(), A::Error> {
        match key {
            "command" => self.command = scalar(values, command)?,
            "instances" => self.instances = scalar(values, count)?,
            "cpus" => self.cpus = scalar(values, cpus)?,
            "mem" => self.mem = scalar(values, mebibytes)?,
            "health" => self.health = section(values)?,
            "stop_timeout" => self.stop_timeout = scalar(values, seconds)?,
            "constraints" => {
                let constraints = rows(values)?.map(|rows| rows.into_iter().map(Constraint::try_from).collect());
                self.constraints = constraints.transpose().map_err(A::Error::custom)?;
            }
            other => unreachable!("`{other}` is in KEYS and read nowhere"),
        }
        Ok(())
    }
}

impl Section for Health {
    const WHAT: &'static str = "a health check";
    const KEYS: &'static [&'static str] = &["path", "interval", "grace", "failures"];

    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, values: &mut A) -> Result<(), A::Error> {
        match key {
            "path" => self.path = scalar(values, path)?,
            "interval" => self.interval = scalar(values, some_seconds)?,
            "grace" => self.grace = scalar(values, seconds)?,
            "failures" => self.failures = scalar(values, at_least_one)?,
            other => unreachable!("`{other}` is in KEYS and read nowhere"),
        }
        Ok(())
    }
}
