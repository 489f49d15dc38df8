//! How much of the platform a tenant may have, and whether a push fits in: arithmetic over figures that others found.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// Processors, exact to a thousandth, so that ten tenths are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Cpus(u64);

/// It is no number of processors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no number of cpus; one looks like `8` or `0.5`")]
pub struct InvalidCpus(String);

impl Cpus {
    const MOST: f64 = 1e9;

    /// The nearest thousandth; what is no amount at all is none.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped before")]
    pub fn nearest(number: f64) -> Self {
        if number.is_nan() { Self::default() } else { Self((number.clamp(0.0, Self::MOST) * 1000.0).round() as u64) }
    }
}
impl TryFrom<f64> for Cpus {
    type Error = InvalidCpus;
    fn try_from(number: f64) -> Result<Self, InvalidCpus> {
        let valid = (0.0..=Self::MOST).contains(&number);
        if valid { Ok(Self::nearest(number)) } else { Err(InvalidCpus(number.to_string())) }
    }
}
impl From<Cpus> for f64 {
    #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
    fn from(cpus: Cpus) -> Self {
        cpus.0 as Self / 1000.0
    }
}
impl FromStr for Cpus {
    type Err = InvalidCpus;
    fn from_str(text: &str) -> Result<Self, InvalidCpus> {
        let invalid = || InvalidCpus(text.chars().take(40).collect());
        text.parse::<f64>().map_err(|_| invalid())?.try_into().map_err(|_| invalid())
    }
}
impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f64::from(*self).fmt(f)
    }
}

/// What one instance, or many together, ask of the machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Share {
    pub cpus: Cpus,
    /// MiB.
    pub mem: u64,
    /// MiB.
    pub disk: u64,
}

impl Share {
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        let times = |amount: u64| amount.saturating_mul(count.into());
        Self { cpus: Cpus(times(self.cpus.0)), mem: times(self.mem), disk: times(self.disk) }
    }
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let cpus = Cpus(self.cpus.0.saturating_add(other.cpus.0));
        Self { cpus, mem: self.mem.saturating_add(other.mem), disk: self.disk.saturating_add(other.disk) }
    }
    /// The larger one of each.
    #[must_use]
    pub fn or_more(self, other: Self) -> Self {
        Self { cpus: self.cpus.max(other.cpus), mem: self.mem.max(other.mem), disk: self.disk.max(other.disk) }
    }
}

/// What apps have, or are to have, once all their instances run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct InUse {
    #[serde(flatten)]
    pub share: Share,
    pub apps: u32,
}

impl InUse {
    /// Adds up process types, each with the name of its app, its number of instances and the share of one.
    pub fn sum<'a>(process_types: impl IntoIterator<Item = (&'a str, u32, Share)>) -> Self {
        let (mut share, mut names) = (Share::default(), BTreeSet::new());
        for (name, instances, each) in process_types {
            share = share.plus(each.times(instances));
            names.insert(name);
        }
        Self { share, apps: u32::try_from(names.len()).unwrap_or(u32::MAX) }
    }
}

/// What a push asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// Of all its instances.
    pub share: Share,
    pub is_new_app: bool,
    /// Of the old instances that serve until new ones do.
    pub retained: Share,
    /// Of its largest instance. As much must be free beside the old ones, or none of them is ever replaced.
    pub largest: Share,
}

/// The limits of a tenant; none where there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Quota {
    pub cpus: Option<Cpus>,
    /// MiB.
    pub mem: Option<u64>,
    /// MiB.
    pub disk: Option<u64>,
    pub apps: Option<u32>,
    /// How many builds may run at the same time.
    pub builds: Option<NonZeroU32>,
}

impl Quota {
    /// Refuses what does not fit beside `others`, which is what the tenant's other apps have.
    pub fn admit(&self, others: &InUse, demand: &Demand) -> Result<(), OverQuota> {
        let mut excesses = Vec::new();
        let limits =
            [(Resource::Cpus, self.cpus.map(|cpus| cpus.0)), (Resource::Mem, self.mem), (Resource::Disk, self.disk)];
        for (resource, quota) in limits {
            let Some(quota) = quota else { continue };
            let of = |share: &Share| resource.of(share);
            let in_use = of(&others.share);
            let beside_old = in_use.saturating_add(of(&demand.retained));
            excesses.extend(
                Excess::find(resource, of(&demand.share), in_use, quota, false)
                    .or_else(|| Excess::find(resource, of(&demand.largest), beside_old, quota, true)),
            );
        }
        if let (Some(quota), true) = (self.apps, demand.is_new_app) {
            excesses.extend(Excess::find(Resource::Apps, 1, others.apps.into(), quota.into(), false));
        }
        if excesses.is_empty() { Ok(()) } else { Err(OverQuota(excesses)) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    Cpus,
    Mem,
    Disk,
    Apps,
}

impl Resource {
    /// Of instances; of apps they have none.
    const fn of(self, share: &Share) -> u64 {
        match self {
            Self::Cpus => share.cpus.0,
            Self::Mem => share.mem,
            Self::Disk => share.disk,
            Self::Apps => 0,
        }
    }
    fn shown(self, amount: u64) -> String {
        if self == Self::Cpus { Cpus(amount).to_string() } else { amount.to_string() }
    }
    fn unit(self, amount: u64) -> &'static str {
        match self {
            Self::Cpus if amount == 1000 => "cpu",
            Self::Cpus => "cpus",
            Self::Mem => "MiB of memory",
            Self::Disk => "MiB of disk",
            Self::Apps => "more app",
        }
    }
}

/// One limit that a push would exceed. Processors are in thousandths here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excess {
    resource: Resource,
    asked: u64,
    in_use: u64,
    quota: u64,
    /// It would fit once the old instances are gone.
    beside_old: bool,
}

impl Excess {
    /// Whoever asks for nothing exceeds nothing.
    fn find(resource: Resource, asked: u64, in_use: u64, quota: u64, beside_old: bool) -> Option<Self> {
        let exceeds = asked > 0 && in_use.saturating_add(asked) > quota;
        exceeds.then_some(Self { resource, asked, in_use, quota, beside_old })
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |amount| self.resource.shown(amount);
        let wish = if self.beside_old { "asked for by a new instance beside the old ones" } else { "asked for" };
        let (asked, unit) = (shown(self.asked), self.resource.unit(self.asked));
        write!(f, "{asked} {unit} {wish}, {} of {} in use", shown(self.in_use), shown(self.quota))
    }
}

/// Why a push does not fit, with the figures of each limit that it would exceed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("over quota: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct OverQuota(Vec<Excess>);

/// A limit as people set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit<T> {
    Lifted,
    To(T),
}

impl<T: FromStr> FromStr for Limit<T> {
    type Err = T::Err;
    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "none" { Ok(Self::Lifted) } else { text.parse().map(Self::To) }
    }
}
impl<T: fmt::Display> fmt::Display for Limit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lifted => f.write_str("none"),
            Self::To(amount) => amount.fmt(f),
        }
    }
}

/// What is to be another quota than it was; the rest stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaChange {
    pub cpus: Option<Limit<Cpus>>,
    pub mem: Option<Limit<u64>>,
    pub disk: Option<Limit<u64>>,
    pub apps: Option<Limit<u32>>,
    pub builds: Option<Limit<NonZeroU32>>,
}

impl QuotaChange {
    /// Of what instances may ask for, which the tenant's Marathon holds.
    pub const fn is_of_share(&self) -> bool {
        self.cpus.is_some() || self.mem.is_some() || self.disk.is_some()
    }
    #[must_use]
    pub fn applied_to(&self, quota: &Quota) -> Quota {
        Quota {
            cpus: changed(self.cpus, quota.cpus),
            mem: changed(self.mem, quota.mem),
            disk: changed(self.disk, quota.disk),
            apps: changed(self.apps, quota.apps),
            builds: changed(self.builds, quota.builds),
        }
    }
}

fn changed<T>(change: Option<Limit<T>>, before: Option<T>) -> Option<T> {
    match change {
        None => before,
        Some(Limit::Lifted) => None,
        Some(Limit::To(amount)) => Some(amount),
    }
}

/// Such as `cpus=8 mem=none`.
impl fmt::Display for QuotaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.cpus.map(|limit| format!("cpus={limit}")),
            self.mem.map(|limit| format!("mem={limit}")),
            self.disk.map(|limit| format!("disk={limit}")),
            self.apps.map(|limit| format!("apps={limit}")),
            self.builds.map(|limit| format!("builds={limit}")),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(text: &str) -> Cpus {
        text.parse().unwrap()
    }
    fn share(processors: &str, mem: u64, disk: u64) -> Share {
        Share { cpus: cpus(processors), mem, disk }
    }
    fn eight() -> Quota {
        Quota { cpus: Some(cpus("8")), mem: Some(4096), apps: Some(3), ..Quota::default() }
    }
    fn others() -> InUse {
        InUse { share: share("4", 1024, 10), apps: 2 }
    }
    fn first_push(asked: Share) -> Demand {
        Demand { share: asked, is_new_app: true, ..Demand::default() }
    }
    fn refusal(quota: &Quota, others: &InUse, demand: &Demand) -> String {
        quota.admit(others, demand).unwrap_err().to_string()
    }

    #[test]
    fn what_fits_to_the_last_thousandth_is_admitted() {
        assert_eq!(eight().admit(&others(), &first_push(share("4", 3072, 0))), Ok(()));
        let refused = refusal(&eight(), &others(), &first_push(share("4.001", 1, 0)));
        assert_eq!(refused, "over quota: 4.001 cpus asked for, 4 of 8 in use");
    }

    #[test]
    fn a_refusal_has_the_figures_of_each_limit_that_is_exceeded() {
        assert_eq!(
            refusal(&eight(), &others(), &first_push(share("6", 256, 0))),
            "over quota: 6 cpus asked for, 4 of 8 in use"
        );
        let full = InUse { apps: 3, ..others() };
        assert_eq!(
            refusal(&eight(), &full, &first_push(share("1", 4000, 5))),
            "over quota: 4000 MiB of memory asked for, 1024 of 4096 in use; 1 more app asked for, 3 of 3 in use"
        );
    }

    #[test]
    fn without_limits_everything_fits() {
        assert_eq!(Quota::default().admit(&others(), &first_push(share("1000", 1 << 40, 1 << 40))), Ok(()));
    }

    #[test]
    fn whoever_asks_for_nothing_is_not_refused_for_what_others_have() {
        let quota = Quota { disk: Some(5), apps: Some(1), ..Quota::default() };
        let demand = Demand { is_new_app: false, ..first_push(share("1", 1, 0)) };
        assert_eq!(quota.admit(&others(), &demand), Ok(()));
    }

    #[test]
    fn a_push_that_fits_needs_room_for_one_new_instance_beside_the_old_ones() {
        let demand = |instances: u32| Demand {
            share: share("1", 1, 0).times(instances),
            is_new_app: false,
            retained: share("1", 1, 0).times(instances),
            largest: share("1", 1, 0),
        };
        assert_eq!(eight().admit(&others(), &demand(3)), Ok(()));
        assert_eq!(
            refusal(&eight(), &others(), &demand(4)),
            "over quota: 1 cpu asked for by a new instance beside the old ones, 8 of 8 in use"
        );
    }

    #[test]
    fn process_types_of_one_app_are_one_app_and_tenths_add_up() {
        let sum = InUse::sum([
            ("shop", 10, share("0.1", 256, 0)),
            ("shop", 1, share("0.5", 100, 7)),
            ("wiki", 0, share("9", 9, 9)),
        ]);
        assert_eq!(sum, InUse { share: share("1.5", 2660, 7), apps: 2 });
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name_and_none_lifts_a_limit() {
        let change = QuotaChange { cpus: "none".parse().ok(), mem: "512".parse().ok(), ..QuotaChange::default() };
        assert_eq!(change.applied_to(&eight()), Quota { cpus: None, mem: Some(512), ..eight() });
        assert_eq!(change.to_string(), "cpus=none mem=512");
    }

    #[test]
    fn cpus_are_numbers_that_are_not_negative() {
        assert_eq!((cpus("0.5").to_string(), cpus("8").to_string()), ("0.5".to_owned(), "8".to_owned()));
        for bad in ["", "-1", "NaN", "inf", "two", "1e300"] {
            assert!(bad.parse::<Cpus>().is_err(), "{bad}");
        }
        assert_eq!(Cpus::nearest(f64::NAN), Cpus::default());
        assert_eq!(Cpus::nearest(-3.0), Cpus::default());
    }

    #[test]
    fn a_quota_is_read_as_it_is_written_and_from_nothing() {
        let text = serde_json::to_string(&eight()).unwrap();
        assert_eq!(text, r#"{"cpus":8.0,"mem":4096,"disk":null,"apps":3,"builds":null}"#);
        assert_eq!(serde_json::from_str::<Quota>(&text).unwrap(), eight());
        assert_eq!(serde_json::from_str::<Quota>("{}").unwrap(), Quota::default());
    }
}
